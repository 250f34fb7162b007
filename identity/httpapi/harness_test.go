package httpapi_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/enrolment"
	"github.com/earlybird/earlybird/identity/account/memstore"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/httpapi"
	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/identity/unavailable"
)

const (
	issuer   = "https://earlybird.example"
	audience = "earlybird"
	kid      = "1-test"

	goodPassword = "correct horse battery staple"
)

// plainHasher is a Hasher that costs nothing, and fails as it is told to.
type plainHasher struct{ err, full error }

func (h *plainHasher) Enter(ctx context.Context) (queued context.Context, release func(), err error) {
	return ctx, func() {}, h.full
}

func (h *plainHasher) Hash(_ context.Context, password string) (string, error) {
	return "plain:" + password, h.err
}

func (h *plainHasher) HashIf(ctx context.Context, password string, admit func() error) (string, error) {
	if err := admit(); err != nil {
		return "", err
	}
	return h.Hash(ctx, password)
}

func (h *plainHasher) Verify(_ context.Context, encoded, password string) (bool, error) {
	return encoded == "plain:"+password, h.err
}

func (h *plainHasher) VerifyNobody(context.Context, string) error { return h.err }

func (h *plainHasher) Stale(string) bool { return false }

// promotions is a Promotions that answers as it is told to.
type promotions struct {
	mu        sync.Mutex
	placed    []string // who was asked for, in order
	placement campaign.Placement
	held      campaign.Promotion
	heldErr   error
	panics    any
}

func (p *promotions) Place(_ context.Context, userID string) campaign.Placement {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.placed = append(p.placed, userID)
	return p.placement
}

func (p *promotions) Promotion(context.Context, string) (campaign.Promotion, error) {
	if p.panics != nil {
		panic(p.panics)
	}
	return p.held, p.heldErr
}

// revocations is what a *revocation.Feed and a *revocation.Writer are together.
type revocations struct {
	mu       sync.Mutex
	notReady bool
	down     bool // of Redis: nothing is announced
	err      error
	tokens   map[string]bool // whether the edges know
	expires  map[string]time.Time
	least    map[string]int64
}

func newRevocations() *revocations {
	return &revocations{tokens: map[string]bool{}, expires: map[string]time.Time{}, least: map[string]int64{}}
}

func (r *revocations) announced() error {
	if r.down {
		return &revocation.PendingError{Err: unavailable.New("redis", "announce", errors.New("down"))}
	}
	return nil
}

func (r *revocations) Check(c token.Claims) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ended := r.tokens[c.ID]
	switch {
	case r.notReady:
		return token.ErrNotReady
	case ended || c.Generation < r.least[c.Subject]:
		return token.ErrRevoked
	}
	return nil
}

func (r *revocations) RevokeToken(_ context.Context, jti string, expires time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	r.tokens[jti], r.expires[jti] = !r.down, expires
	return r.announced()
}

func (r *revocations) Pending(jti string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	told, ended := r.tokens[jti]
	return ended && !told
}

func (r *revocations) RaiseGeneration(_ context.Context, _ string, current int64) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return current + 1, r.err
}

func (r *revocations) AnnounceGeneration(_ context.Context, userID string, generation int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.least[userID] = generation
	return r.announced()
}

// keys is a Keys and a token.KeySource with one key, or without any.
type keys struct {
	set  token.KeySet
	none bool
}

func (k *keys) JWKS() ([]byte, error) {
	if k.none {
		return nil, token.ErrNoKeys
	}
	return k.set.JSON(), nil
}

func (k *keys) PublicKey(id string) (ed25519.PublicKey, error) {
	if k.none {
		return nil, token.ErrNoKeys
	}
	return k.set.PublicKey(id)
}

// logBuffer collects what is logged.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// auditedStore is an account.Store that tells what was recorded.
type auditedStore interface {
	account.Store
	Attempts() []account.Attempt
}

// newStore makes the store of a service; TestOverMongoDB sets another one.
var newStore = func(testing.TB) auditedStore { return memstore.New() }

// service is an API over stores in memory.
type service struct {
	url        string
	api        *httpapi.API
	health     *httpapi.Health
	checks     map[string]*error // what each probe returns
	hasher     *plainHasher
	promotions *promotions
	revoked    *revocations
	keys       *keys
	issuer     *token.Issuer
	now        time.Time
	logs       *logBuffer
	store      auditedStore
	codes      bool // registrations take an enrolment code
	metrics    *prometheus.Registry
}

func start(t testing.TB) *service {
	t.Helper()
	return open(t, startClosed(t))
}

// startWithCodes starts an API where registrations take an enrolment code.
func startWithCodes(t testing.TB) *service {
	t.Helper()
	return open(t, startAPI(t, true))
}

// open gives an API its backend.
func open(t testing.TB, s *service) *service {
	t.Helper()
	clock := func() time.Time { return s.now }
	public, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	s.keys = &keys{set: token.NewKeySet(map[string]ed25519.PublicKey{kid: public})}
	s.issuer, err = token.NewIssuer(token.IssuerConfig{
		Issuer: issuer, Audience: audience, ClientID: "earlybird", Now: clock,
		Key: func() (string, ed25519.PrivateKey, error) { return kid, private, nil },
	})
	must(t, err)
	verifier, err := token.NewVerifier(token.VerifierConfig{Issuer: issuer, Keys: s.keys, Now: clock})
	must(t, err)
	var codes account.Enrolment
	if s.codes {
		codes = enrolment.NewRegistry(s.customers(), clock)
	}
	accounts, err := account.NewService(account.ServiceConfig{
		Store: s.store, Hasher: s.hasher, Revoker: s.revoked, Enrolment: codes, Now: clock, Log: slog.New(httpapi.LogHandler(slog.NewTextHandler(s.logs, nil))),
	})
	must(t, err)
	must(t, s.api.Open(httpapi.Backend{
		Accounts: accounts, Issuer: s.issuer, Audience: audience, Verifier: verifier, Revocations: s.revoked,
		PasswordIssuer: s.issuer, Promotions: s.promotions, Keys: s.keys,
	}))
	return s
}

// startClosed starts an API that has no backend yet.
func startClosed(t testing.TB) *service {
	t.Helper()
	return startAPI(t, false)
}

func startAPI(t testing.TB, codes bool) *service {
	t.Helper()
	s := &service{
		codes: codes,
		now:   time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), hasher: &plainHasher{},
		promotions: &promotions{placement: campaign.Placement{Status: campaign.StatusNone}}, revoked: newRevocations(),
		logs: &logBuffer{}, store: newStore(t), metrics: prometheus.NewRegistry(), checks: map[string]*error{},
	}
	var checks []httpapi.Check
	for _, name := range []string{"mongodb", "keys", "redis"} {
		state := new(error)
		s.checks[name] = state
		checks = append(checks, httpapi.Check{
			Name: name, Optional: name == "redis", Probe: func(context.Context) error { return *state },
		})
	}
	s.health = httpapi.NewHealth(httpapi.HealthConfig{Checks: checks})
	api, err := httpapi.New(httpapi.Config{
		Health: s.health, Codes: codes, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Metrics: s.metrics, Now: func() time.Time { return s.now },
		Log: slog.New(httpapi.LogHandler(slog.NewTextHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))),
	})
	must(t, err)
	s.api = api
	server := httptest.NewUnstartedServer(api)
	server.Config.MaxHeaderBytes = 2 * httpapi.MaxHeader
	server.Start()
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	body   string
}

// problem decodes a problem document.
func (a answer) problem(t testing.TB) httpapi.Problem {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type = %q, want application/problem+json (body %s)", got, a.body)
	}
	dec := json.NewDecoder(strings.NewReader(a.body))
	dec.DisallowUnknownFields()
	var p httpapi.Problem
	if err := dec.Decode(&p); err != nil {
		t.Fatalf("problem document %q: %v", a.body, err)
	}
	if p.Status != a.status || p.Type == "" || p.Title == "" || p.Detail == "" {
		t.Errorf("problem %+v of status %d lacks a member or has another status", p, a.status)
	}
	return p
}

type option func(*http.Request)

func bearer(raw string) option { return header("Authorization", "Bearer "+raw) }

func header(name, value string) option {
	return func(r *http.Request) { r.Header.Add(name, value) }
}

func (s *service) do(t testing.TB, method, path string, body io.Reader, options ...option) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, s.url+path, body)
	must(t, err)
	for _, o := range options {
		o(r)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	must(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	must(t, err)
	return answer{status: res.StatusCode, header: res.Header, body: string(text)}
}

func (s *service) get(t testing.TB, path string, options ...option) answer {
	t.Helper()
	return s.do(t, http.MethodGet, path, nil, options...)
}

func (s *service) post(t testing.TB, path, body string, options ...option) answer {
	t.Helper()
	return s.do(t, http.MethodPost, path, strings.NewReader(body), append(options, func(r *http.Request) {
		if r.Header["Content-Type"] == nil {
			r.Header.Set("Content-Type", "application/json")
		}
	})...)
}

// credentials is a body for POST /users and POST /login.
func credentials(username, password string) string {
	body, err := json.Marshal(map[string]string{"username": username, "password": password})
	if err != nil {
		panic(err)
	}
	return string(body)
}

// enrolling is a body for POST /users with an enrolment code.
func enrolling(username, password, code string) string {
	body, err := json.Marshal(map[string]string{"username": username, "password": password, "code": code})
	if err != nil {
		panic(err)
	}
	return string(body)
}

// customers is the store as what issues codes asks for it.
func (s *service) customers() enrolment.Store { return s.store.(enrolment.Store) }

// code issues a code to a new customer.
func (s *service) code(t testing.TB) string {
	t.Helper()
	admin := enrolment.NewAdmin(enrolment.AdminConfig{Store: s.customers(), By: "carol", Now: func() time.Time { return s.now }})
	issued, err := admin.Issue(t.Context(), []string{"C-" + rand.Text()}, s.now.Add(time.Hour), false)
	must(t, err)
	return issued[0].Code.String()
}

// register creates an account and returns its id.
func (s *service) register(t testing.TB, username string) string {
	t.Helper()
	body := credentials(username, goodPassword)
	if s.codes {
		body = enrolling(username, goodPassword, s.code(t))
	}
	got := s.post(t, "/users", body)
	if got.status != http.StatusCreated {
		t.Fatalf("register %s: %d %s", username, got.status, got.body)
	}
	var user struct{ ID string }
	must(t, json.Unmarshal([]byte(got.body), &user))
	return user.ID
}

// token issues a token for a user id.
func (s *service) token(t testing.TB, userID string) string {
	t.Helper()
	raw, _, err := s.issuer.Issue(userID, 0)
	must(t, err)
	return raw
}
