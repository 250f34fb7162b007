package rehearse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/earlybird/earlybird/identity/campaign"
)

const (
	// MaxConnections is how many requests are sent at once; more wait for one of
	// them, and that wait is part of how long they took.
	MaxConnections = 2000
	// patience is how long a client waits for one answer.
	patience = 30 * time.Second
	// retries is how often a client tries again by itself: after 1, 2, 4, 8 and 16
	// seconds, each extended at random by up to as much again.
	retries = 5
	// maxBody is how much of an answer is read.
	maxBody = 64 << 10
)

// Client sends requests to a gateway as the clients of a launch day do.
type Client struct {
	gateway string
	http    *http.Client
	open    atomic.Int64
	most    atomic.Int64 // that were open at once
}

// NewClient returns a Client for the gateway at a URL. A nil transport is one of
// net/http with at most MaxConnections connections, HTTP/1.1 alone, as that many
// clients would make them.
func NewClient(gateway string, transport http.RoundTripper) *Client {
	if transport == nil {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(true)
		transport = &http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			DialContext:     (&net.Dialer{Timeout: patience}).DialContext,
			MaxConnsPerHost: MaxConnections, MaxIdleConnsPerHost: MaxConnections,
			IdleConnTimeout: time.Minute, Protocols: protocols,
		}
	}
	return &Client{gateway: gateway, http: &http.Client{
		Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is a response, or that there was none.
type answer struct {
	at     time.Time
	status int           // 0: there was no answer
	after  time.Duration // that Retry-After says; negative: it is not there
	body   []byte
	told   campaign.Status // of a login; what cannot be read is retry
	rank   int64
}

// later reports whether the answer says when to come again.
func (a answer) later() bool {
	return (a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable) && a.after >= 0
}

// again says how long a client waits before it asks again, which it has done by
// itself tries times; no: the answer is final.
func (a answer) again(tries int) (wait time.Duration, yes bool) {
	switch {
	case a.later():
		return max(a.after, time.Second), true // 0 would be asked again without a pause
	case a.status == http.StatusOK && a.told == campaign.StatusRetry, a.status == 0, a.status == http.StatusTooManyRequests, a.status >= 500:
		base := time.Second << tries
		return base + rand.N(base), tries < retries //nolint:gosec // no secret
	default:
		return 0, false
	}
}

// errUnfinished is of a user who would have tried again.
var errUnfinished = errors.New("was not done yet")

// ask sends a user's credentials until the answer is final, from when it is due
// on, and reports every answer. When ctx ends it waits for the answer to what it
// has sent, since that is done whether it waits or not, and sends no more.
func (c *Client) ask(ctx context.Context, path string, u User, due time.Time, answered func(Answer)) (answer, error) {
	var last answer
	for tries := 0; ; {
		a, err := c.send(context.WithoutCancel(ctx), path, u)
		answered(Answer{At: a.at, Took: a.at.Sub(due), Status: a.status})
		if a.status != 0 {
			last = a
		}
		wait, more := a.again(tries)
		if !more {
			return a, err
		}
		if !a.later() {
			tries++
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			due = a.at.Add(wait)
		case <-ctx.Done():
			timer.Stop()
			return last, errUnfinished
		}
	}
}

// send sends a user's credentials once.
func (c *Client) send(ctx context.Context, path string, u User) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.gateway+path, bytes.NewReader(u.credentials()))
	if err != nil {
		return answer{at: time.Now()}, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "earlybird-rehearse")
	if u.Address.IsValid() {
		request.Header.Set("X-Forwarded-For", u.Address.String())
	}
	open := c.open.Add(1)
	defer c.open.Add(-1)
	for most := c.most.Load(); open > most && !c.most.CompareAndSwap(most, open); most = c.most.Load() {
	}
	response, err := c.http.Do(request)
	if err != nil {
		return answer{at: time.Now(), after: -1}, noAnswer(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	a := answer{at: time.Now(), status: response.StatusCode, after: retryAfter(response.Header.Get("Retry-After"), time.Now()), body: body}
	if err != nil {
		return answer{at: a.at, after: -1}, noAnswer(err)
	}
	a.told, a.rank = outcome(response.Header.Values("Earlybird"))
	return a, nil
}

// noAnswer is the reason without the URL, so that equal ones count as one.
func noAnswer(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("no answer within %s", patience)
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return fmt.Errorf("no answer: %w", err)
}

// retryAfter reads what RFC 9110 section 10.2.3 allows, seconds or a date;
// negative: neither.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return -1
}

// outcome reads the Earlybird header of a login. One that is missing or cannot be
// read is retry: then it is not known whether the login counted.
func outcome(values []string) (campaign.Status, int64) {
	dict, err := httpsfv.UnmarshalDictionary(values)
	if err != nil {
		return campaign.StatusRetry, 0
	}
	member := func(name string) any {
		if m, ok := dict.Get(name); ok {
			if item, ok := m.(httpsfv.Item); ok {
				return item.Value
			}
		}
		return nil
	}
	status, _ := member("status").(httpsfv.Token)
	rank, _ := member("rank").(int64)
	switch s := campaign.Status(status); s {
	case campaign.StatusGranted, campaign.StatusFull, campaign.StatusNone, campaign.StatusPaused, campaign.StatusEnded, campaign.StatusPending:
		return s, rank
	default:
		return campaign.StatusRetry, 0
	}
}

// refusal is why a registration was refused: the detail of a problem document
// (RFC 9457), and the fields that it names.
func (a answer) refusal() (detail string, fields []string) {
	var problem struct {
		Detail string `json:"detail"`
		Errors []struct {
			Field string `json:"field"`
		} `json:"errors"`
	}
	_ = json.Unmarshal(a.body, &problem) // an answer of another kind has no detail
	for _, e := range problem.Errors {
		fields = append(fields, e.Field)
	}
	return problem.Detail, fields
}

// Keys returns the key set that the gateway publishes (RFC 7517).
func (c *Client) Keys(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.gateway+"/.well-known/jwks.json", nil)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, noAnswer(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answers %d for its keys", response.StatusCode)
	}
	return io.ReadAll(io.LimitReader(response.Body, maxBody))
}
