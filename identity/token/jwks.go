package token

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// JWKSConfig configures a JWKS. URL, Client, Now and Log are required; a zero
// duration means its default.
type JWKSConfig struct {
	URL    string       // of a JSON Web Key Set, http or https
	Client *http.Client // its redirects are narrowed to the URL's own host
	Now    func() time.Time
	Log    *slog.Logger

	Refresh  time.Duration // between two fetches when all is well; 5 min
	Timeout  time.Duration // of one fetch; 5 s
	Throttle time.Duration // least time between two fetches once there are keys; 10 s
}

// Bounds of the retries while there are no keys at all.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// JWKS is a KeySource that follows a JSON Web Key Set over HTTP. Run fetches in
// the background, one fetch at a time; PublicKey only looks at what is there.
//
// Once there are keys they are kept until a fetch brings others: a source that
// is down or returns garbage takes nothing away.
type JWKS struct {
	cfg    JWKSConfig
	client *http.Client
	keys   atomic.Pointer[KeySet]
	wanted chan struct{} // holds one element while an unknown kid waits for a fetch
	ready  chan struct{} // closed with the first keys
	once   sync.Once     // closes ready
}

// NewJWKS returns a JWKS that has no keys until Run has fetched some. It fails
// when the URL cannot be asked.
func NewJWKS(cfg JWKSConfig) (*JWKS, error) {
	if err := checkURL(cfg.URL); err != nil {
		return nil, fmt.Errorf("jwks client: %w", err)
	}
	cfg.Refresh = cmp.Or(cfg.Refresh, 5*time.Minute)
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	cfg.Throttle = cmp.Or(cfg.Throttle, 10*time.Second)
	return &JWKS{
		cfg:    cfg,
		client: sameHostOnly(cfg.Client),
		wanted: make(chan struct{}, 1),
		ready:  make(chan struct{}),
	}, nil
}

func checkURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return errors.New("URL cannot be parsed")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return errors.New("URL is not http://host/path or https://host/path")
	}
	return nil
}

// PublicKey implements KeySource. It does not block: an unknown kid is reported
// at once, and asks for a fetch that happens no sooner than Throttle after the
// one before.
func (j *JWKS) PublicKey(kid string) (ed25519.PublicKey, error) {
	set := j.keys.Load()
	if set == nil {
		return nil, ErrNoKeys
	}
	key, err := set.PublicKey(kid)
	if errors.Is(err, ErrUnknownKey) {
		select {
		case j.wanted <- struct{}{}:
		default: // a fetch is asked for already
		}
	}
	return key, err
}

// Ready reports whether any keys are known.
func (j *JWKS) Ready() bool { return j.keys.Load() != nil }

// WaitReady returns nil as soon as keys are known, or the context's error.
func (j *JWKS) WaitReady(ctx context.Context) error {
	select {
	case <-j.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for verification keys: %w", ctx.Err())
	}
}

// Run fetches the keys at once and then keeps them fresh until ctx ends; it
// returns nil then. Call it once.
func (j *JWKS) Run(ctx context.Context) error {
	failures := 0
	for ctx.Err() == nil {
		began := j.cfg.Now()
		maxAge, err := j.fetch(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			failures++
			j.cfg.Log.WarnContext(ctx, "fetching verification keys failed", "err", err, "failures", failures, "have_keys", j.Ready())
		default:
			failures = 0
		}
		j.wait(ctx, began, j.pause(failures, maxAge))
	}
	return nil
}

// wait returns when pause is over, when an unknown kid was asked for and
// Throttle has passed since the last fetch began, or when ctx ends.
func (j *JWKS) wait(ctx context.Context, began time.Time, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
		j.forgetWanted()
		return
	case <-j.wanted:
	}
	throttled := began.Add(j.cfg.Throttle).Sub(j.cfg.Now())
	if throttled <= 0 {
		return
	}
	throttle := time.NewTimer(throttled)
	defer throttle.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-throttle.C:
	}
	j.forgetWanted()
}

// forgetWanted drops a request that the fetch about to begin will serve.
func (j *JWKS) forgetWanted() {
	select {
	case <-j.wanted:
	default:
	}
}

// pause returns how long to wait after a fetch, failures being how many failed
// in a row up to it. Retries back off and are spread over the second half of
// their pause, so that many edges do not return to a healed source as one.
func (j *JWKS) pause(failures int, maxAge time.Duration) time.Duration {
	if failures == 0 {
		return maxAge
	}
	first, last := firstRetry, lastRetry
	if j.Ready() {
		first, last = j.cfg.Throttle, max(j.cfg.Throttle, j.cfg.Refresh)
	}
	d := first
	for range failures - 1 {
		if d *= 2; d >= last {
			d = last
			break
		}
	}
	if j.Ready() {
		return d + rand.N(d/2+1) //nolint:gosec // jitter is no secret
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter is no secret
}

// use puts a fetched set in place.
func (j *JWKS) use(set KeySet) {
	j.keys.Store(&set)
	j.once.Do(func() { close(j.ready) })
}
