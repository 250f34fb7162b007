package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// fetch gets the key set once and puts it in place. It returns how long the
// answer may be used.
func (j *JWKS) fetch(ctx context.Context) (maxAge time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, j.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, j.cfg.URL, nil)
	if err != nil {
		return 0, errors.New("fetch keys: the URL cannot be asked")
	}
	defer func() {
		if err != nil { // without user and query, which may hold a secret
			err = fmt.Errorf("fetch keys from %s://%s%s: %w", req.URL.Scheme, req.URL.Host, req.URL.EscapedPath(), err)
		}
	}()
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := j.client.Do(req)
	if err != nil {
		return 0, unquoted(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxKeySetSize+1))
	if err != nil {
		return 0, fmt.Errorf("read body: %w", err)
	}
	set, err := ParseKeySet(body)
	if err != nil {
		return 0, err
	}
	j.use(set)
	return j.freshness(resp.Header), nil
}

// unquoted takes out of an error of an http.Client what quotes a URL.
func unquoted(err error) error {
	if op := new(url.Error); errors.As(err, &op) {
		err = op.Err
	}
	if strings.HasPrefix(err.Error(), "failed to parse Location header") {
		return errors.New("redirect to no URL")
	}
	return err
}

// freshness returns how long to use an answer: its Cache-Control max-age (RFC
// 9111 section 5.2.2.1), but no shorter than Throttle and no longer than
// Refresh, so that no source can stop the refresh or speed it up to a flood.
func (j *JWKS) freshness(h http.Header) time.Duration {
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if !strings.EqualFold(name, "max-age") {
			continue
		}
		seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
		if err != nil {
			break
		}
		age := time.Duration(seconds) * time.Second
		return min(max(age, j.cfg.Throttle), j.cfg.Refresh)
	}
	return j.cfg.Refresh
}

// sameHostOnly copies a client so that it follows few redirects, and none to
// another scheme or host: who can bend the source's answers must not be able to
// choose who signs.
func sameHostOnly(client *http.Client) *http.Client {
	c := *client
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) > 3 {
			return errors.New("too many redirects")
		}
		if first := via[0].URL; req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
			return errors.New("redirect to another host")
		}
		return nil
	}
	return &c
}
