package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/token"
)

// Accounts registers people and lets them in: *account.Service.
type Accounts interface {
	Register(ctx context.Context, r account.Registration) (account.User, error)
	Authenticate(ctx context.Context, r account.LoginRequest) (account.Credential, error)
	User(ctx context.Context, id string) (account.User, error)
	ChangePassword(ctx context.Context, r account.ChangeRequest) error
}

// Issuer makes access tokens: *token.Issuer.
type Issuer interface {
	Issue(subject string, generation int64) (raw string, c token.Claims, err error)
}

// Verifier checks access tokens: a *token.Verifier or a *token.Cache.
type Verifier interface {
	Verify(raw string, d token.Demand) (token.Claims, error)
}

// Revocations ends tokens and knows which were ended: a *revocation.Feed and a
// *revocation.Writer.
type Revocations interface {
	// Check returns token.ErrRevoked for a token that was ended, and
	// token.ErrNotReady while that is not known.
	Check(c token.Claims) error
	// RevokeToken ends the token with this jti and exp at every edge. It fails
	// with an *unavailable.Error, which may be a *revocation.PendingError.
	RevokeToken(ctx context.Context, jti string, expires time.Time) error
	// Pending reports whether a token was ended and the edges may not know.
	Pending(jti string) bool
}

// Promotions places users in the campaign: *campaign.Replica.
type Promotions interface {
	// Place gives the user the next place, if there is one to have. It takes two
	// seconds at most, and never fails.
	Place(ctx context.Context, userID string) campaign.Placement
	// Promotion returns the user's grant, a *campaign.NoGrantError, or an
	// *unavailable.Error when that cannot be decided.
	Promotion(ctx context.Context, userID string) (campaign.Promotion, error)
}

// Keys has the public keys that verify the tokens.
type Keys interface {
	// JWKS returns the key set (RFC 7517 section 5), or token.ErrNoKeys.
	JWKS() ([]byte, error)
}

// Backend is what the operations on accounts, logins, promotions and keys
// need. Every field is required.
type Backend struct {
	Accounts Accounts
	Issuer   Issuer
	Verifier Verifier
	// Audience is that of Issuer's tokens.
	Audience string
	// PasswordIssuer makes the tokens that one-time passwords buy: their audience
	// is token.PasswordAudience(Audience), so that they open the change of password
	// alone.
	PasswordIssuer Issuer

	Revocations Revocations
	Promotions  Promotions
	Keys        Keys
}

// Config configures an API. The zero value is safe.
type Config struct {
	Health         *Health               // nil: always ready
	TrustedProxies []netip.Prefix        // whose X-Forwarded-For is believed
	Codes          bool                  // registrations take an enrolment code
	Issuer         string                // iss of the tokens, whose metadata is served (RFC 8414); empty: none is
	Version        string                // of the program, shown in openapi.json; empty: "dev"
	Metrics        prometheus.Registerer // nil: metrics are kept nowhere
	Now            func() time.Time      // nil: time.Now
	Log            *slog.Logger          // nil: slog.Default
}

// API is the handler of every route. Before Open it answers for itself alone:
// health, description, and 503 for everything that needs a backend.
type API struct {
	Config
	backend   atomic.Pointer[Backend]
	handler   http.Handler
	requests  *prometheus.HistogramVec
	strangers strangers
}

// New returns an API without a backend.
func New(c Config) (*API, error) {
	a := &API{Config: withDefaults(c)}
	if err := a.addMetrics(); err != nil {
		return nil, fmt.Errorf("httpapi: metrics: %w", err)
	}
	mux := http.NewServeMux()
	for pattern, operation := range map[string]operation{
		"POST /users":              a.register,
		"POST /login":              a.login,
		"POST /logout":             a.logout,
		"GET /users/{id}":          a.user,
		"PUT /users/{id}/password": a.changePassword,
		"GET /promotion":           a.promotion,
		"GET " + keySetPath:        a.keys,
	} {
		mux.HandleFunc(pattern, a.opened(operation))
	}
	mux.HandleFunc("GET /livez", a.live)
	mux.HandleFunc("GET /readyz", a.ready)
	mux.HandleFunc("GET /servingz", a.serving)
	if err := a.addMetadata(mux); err != nil {
		return nil, err
	}
	a.addDocs(mux)
	a.handler = Linger(a.identify(a.observe(limitHead(route(mux)))))
	return a, nil
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// Open gives the API its backend, with which it serves from now on.
func (a *API) Open(b Backend) error {
	if slices.Contains([]any{b.Accounts, b.Issuer, b.Verifier, b.PasswordIssuer, b.Revocations, b.Promotions, b.Keys}, nil) || b.Audience == "" {
		return errors.New("httpapi: every field of the backend is required")
	}
	a.backend.Store(&b)
	return nil
}

// operation answers a request, or fails with an error that problemOf knows and
// has written nothing.
type operation func(w http.ResponseWriter, r *http.Request, b *Backend) error

// opened serves an operation once there is a backend, and answers its errors.
func (a *API) opened(serve operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b := a.backend.Load()
		if b == nil {
			serviceUnavailable(typeUnavailable, "Not available", "The service is starting; try again.", outageRetry).write(w)
			return
		}
		if err := serve(w, r, b); err != nil {
			a.fail(r.Context(), err).write(w)
		}
	}
}

// answer sends a JSON body that no cache may keep, unless the header says
// otherwise already.
func answer(w http.ResponseWriter, status int, body any) {
	if w.Header().Get("Cache-Control") == "" {
		w.Header().Set("Cache-Control", noStore)
	}
	w.Header().Set("Content-Type", jsonMediaType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}

func withDefaults(c Config) Config {
	if c.Health == nil {
		c.Health = NewHealth(HealthConfig{})
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

func (a *API) addMetrics() error {
	a.requests = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "earlybird_http_request_seconds", Help: "Time from a request's head to its answer, by route and status.",
		Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"route", "status"})
	return a.Metrics.Register(a.requests)
}

// fail turns an error into the answer, and logs it if it is ours.
func (a *API) fail(ctx context.Context, err error) *Problem {
	p := problemOf(err)
	switch {
	case p.Status == http.StatusInternalServerError:
		a.Log.ErrorContext(ctx, "request failed", "err", err)
	case p.Status > http.StatusInternalServerError && ctx.Err() == nil:
		a.Log.WarnContext(ctx, "request not served", "err", err)
	}
	return p
}
