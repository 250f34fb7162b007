package account_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/memstore"
	"github.com/earlybird/earlybird/identity/password"
	"github.com/earlybird/earlybird/identity/unavailable"
)

var now = time.Date(2026, 11, 22, 9, 8, 7, 654_321_000, time.UTC)

// countingHasher stands for argon2id: it tells its work apart and counts it.
type countingHasher struct {
	mu     sync.Mutex
	prefix string // of new hashes
	hashes int
	work   int // verifications, of anybody or nobody
	err    error
	onWork func()
	queued int   // places taken and not released
	full   error // of Enter
}

func (h *countingHasher) Enter(ctx context.Context) (queued context.Context, release func(), err error) {
	if h.full != nil {
		return ctx, nil, h.full
	}
	h.queued++
	return ctx, sync.OnceFunc(func() { h.queued-- }), nil
}

func (h *countingHasher) Hash(_ context.Context, secret string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hashes++
	return h.prefix + secret, h.err
}

func (h *countingHasher) HashIf(ctx context.Context, secret string, admit func() error) (string, error) {
	if err := admit(); err != nil {
		return "", err
	}
	return h.Hash(ctx, secret)
}

func (h *countingHasher) Verify(ctx context.Context, encoded, secret string) (bool, error) {
	_, stored, ok := strings.Cut(encoded, ":")
	if !ok {
		return false, password.ErrMalformed
	}
	return stored == secret && h.err == nil, h.VerifyNobody(ctx, secret)
}

func (h *countingHasher) VerifyNobody(context.Context, string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.work++
	if h.onWork != nil {
		h.onWork()
	}
	return h.err
}

func (h *countingHasher) Stale(encoded string) bool { return !strings.HasPrefix(encoded, h.prefix) }

// brokenStore is a store whose methods fail when they have an error to fail with.
type brokenStore struct {
	*memstore.Store
	lookup, audit, replace error
	lookups                int
	onAudit                func(account.Attempt)
}

func (s *brokenStore) Credential(ctx context.Context, canonical string) (account.Credential, error) {
	s.lookups++
	if s.lookup != nil {
		return account.Credential{}, s.lookup
	}
	return s.Store.Credential(ctx, canonical)
}

func (s *brokenStore) RecordAttempt(ctx context.Context, a account.Attempt) error {
	if s.onAudit != nil {
		s.onAudit(a)
	}
	if s.audit != nil {
		return s.audit
	}
	return s.Store.RecordAttempt(ctx, a)
}

func (s *brokenStore) ReplacePassword(ctx context.Context, canonical, old, phc string) error {
	if s.replace != nil {
		return s.replace
	}
	return s.Store.ReplacePassword(ctx, canonical, old, phc)
}

type fixture struct {
	*account.Service
	store  *brokenStore
	hasher *countingHasher
	log    *bytes.Buffer
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	f := fixture{store: &brokenStore{Store: memstore.New()}, hasher: &countingHasher{prefix: "new:"}, log: &bytes.Buffer{}}
	service, err := account.NewService(account.ServiceConfig{
		Store: f.store, Hasher: f.hasher, Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(f.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Service = service
	return f
}

const secret = "correct horse"

func (f fixture) register(t *testing.T, username string) account.User {
	t.Helper()
	u, err := f.Register(t.Context(), account.Registration{Username: username, Password: secret})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestRegister(t *testing.T) {
	f := newFixture(t)
	u := f.register(t, "Alice")
	want := account.User{ID: u.ID, Username: "Alice", Canonical: "alice", CreatedAt: now.Truncate(time.Millisecond)}
	if u != want || len(u.ID) != 26 {
		t.Errorf("registered %+v, want %+v with an id of 26 characters", u, want)
	}
	if got, err := f.User(t.Context(), u.ID); got != u || err != nil {
		t.Errorf("user = %+v, %v; want %+v", got, err, u)
	}
	c, err := f.store.Credential(t.Context(), "alice")
	if err != nil || c != (account.Credential{Canonical: "alice", UserID: u.ID, Password: "new:" + secret}) {
		t.Errorf("credential = %+v, %v", c, err)
	}
	if other := f.register(t, "bob"); other.ID == u.ID {
		t.Error("two users have one id")
	}
}

func TestRegisterTaken(t *testing.T) {
	f := newFixture(t)
	f.register(t, "Alice")
	for _, name := range []string{"Alice", "alice", "ａｌｉｃｅ", "ALICE"} {
		if _, err := f.Register(t.Context(), account.Registration{Username: name, Password: secret}); !errors.Is(err, account.ErrUsernameTaken) {
			t.Errorf("register %q: %v, want ErrUsernameTaken", name, err)
		}
	}
	if f.hasher.hashes != 1 {
		t.Errorf("%d hashes, want 1: a taken name should cost none", f.hasher.hashes)
	}
}

func TestRegisterInvalid(t *testing.T) {
	for _, test := range []struct {
		name, username, password string
		fields                   []string
	}{
		{"name", "a", secret, []string{"username"}},
		{"password", "alice", "short", []string{"password"}},
		{"both", "a b c", "sh\x00rt", []string{"username", "password"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			_, err := f.Register(t.Context(), account.Registration{Username: test.username, Password: test.password})
			var invalid *account.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != test.fields[0] {
				t.Fatalf("register: %v, want an InvalidError of %s", err, test.fields[0])
			}
			for _, field := range test.fields {
				if !strings.Contains(err.Error(), field+": ") {
					t.Errorf("%q does not name %s", err, field)
				}
			}
			if strings.Contains(err.Error(), test.password) {
				t.Errorf("%q shows the password", err)
			}
			if f.hasher.hashes != 0 {
				t.Error("an invalid request was hashed")
			}
		})
	}
}

func TestRegisterFailures(t *testing.T) {
	busy := &password.BusyError{RetryAfter: 3 * time.Second}
	f := newFixture(t)
	f.hasher.err = busy
	if _, err := f.Register(t.Context(), account.Registration{Username: "alice", Password: secret}); !errors.Is(err, password.ErrBusy) {
		t.Errorf("busy: %v", err)
	}
	if _, err := f.store.Credential(t.Context(), "alice"); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("after a failed registration: %v, want no credential", err)
	}
	f = newFixture(t)
	f.store.lookup = unavailable.New("mongodb", "find", errors.New("down"))
	if _, err := f.Register(t.Context(), account.Registration{Username: "alice", Password: secret}); !unavailable.Is(err) {
		t.Errorf("store down: %v, want an outage", err)
	}
}

func TestUserNotFound(t *testing.T) {
	if _, err := newFixture(t).User(t.Context(), "nobody"); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("user: %v, want ErrNotFound", err)
	}
}

// Every way to fail costs one lookup, one verification and one entry in the
// audit, and looks the same from outside.
func TestAuthenticateFailuresAreAlike(t *testing.T) {
	for _, test := range []struct {
		name, username, password string
		known                    bool
		want                     account.Outcome
	}{
		{"wrong password", "alice", "wrong horse", true, account.OutcomeWrongPassword},
		{"case of the password", "alice", "Correct horse", true, account.OutcomeWrongPassword},
		{"no password", "alice", "", true, account.OutcomeWrongPassword},
		{"password with NUL", "alice", secret + "\x00", true, account.OutcomeWrongPassword},
		{"password of a megabyte", "alice", strings.Repeat("x", 1<<20), true, account.OutcomeWrongPassword},
		{"account with an empty password", "hollow", "\x00", true, account.OutcomeWrongPassword},
		{"unknown user", "bob", secret, false, account.OutcomeUnknownUser},
		{"name that cannot be", "a\x00", secret, false, account.OutcomeUnknownUser},
		{"no name", "", "", false, account.OutcomeUnknownUser},
		{"name of a megabyte", strings.Repeat("x", 1<<20), secret, false, account.OutcomeUnknownUser},
		{"disabled user", "carol", secret, true, account.OutcomeDisabled},
		{"disabled user, wrong password", "carol", "wrong horse", true, account.OutcomeWrongPassword},
		{"stored password cannot be read", "mallory", secret, true, account.OutcomeWrongPassword},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			f.register(t, "alice")
			f.register(t, "carol")
			f.store.Disable("carol", true)
			for name, stored := range map[string]string{"hollow": "new:", "mallory": "garbage"} {
				err := f.store.CreateUser(t.Context(), account.User{ID: name, Canonical: name}, account.Credential{Canonical: name, UserID: name, Password: stored})
				if err != nil {
					t.Fatal(err)
				}
			}
			f.store.lookups = 0
			c, err := f.Authenticate(t.Context(), account.LoginRequest{Username: test.username, Password: test.password, IP: "192.0.2.1", RequestID: "r1"})
			if !errors.Is(err, account.ErrBadCredentials) || err.Error() != account.ErrBadCredentials.Error() || c != (account.Credential{}) {
				t.Errorf("authenticate = %+v, %v; want ErrBadCredentials and no more", c, err)
			}
			if f.store.lookups != 1 || f.hasher.work != 1 {
				t.Errorf("%d lookups and %d verifications, want one of each", f.store.lookups, f.hasher.work)
			}
			attempts := f.store.Attempts()
			if len(attempts) != 1 {
				t.Fatalf("%d attempts recorded, want 1", len(attempts))
			}
			a := attempts[0]
			if a.Outcome != test.want || (a.UserID != "") != test.known || a.IP != "192.0.2.1" || a.RequestID != "r1" || !a.At.Equal(now) {
				t.Errorf("recorded %+v, want outcome %s", a, test.want)
			}
		})
	}
}

func TestAuthenticate(t *testing.T) {
	for _, test := range []struct{ name, username, password string }{
		{"as registered", "Zo\u00eb", "caf\u00e9 au lait"},
		{"another case", "zO\u00cb", "caf\u00e9 au lait"},
		{"decomposed", "Zoe\u0308", "cafe\u0301 au lait"},
		{"another space", "zo\u00eb", "caf\u00e9\u00a0au lait"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			u, err := f.Register(t.Context(), account.Registration{Username: "Zo\u00eb", Password: "caf\u00e9 au lait"})
			if err != nil {
				t.Fatal(err)
			}
			c, err := f.Authenticate(t.Context(), account.LoginRequest{Username: test.username, Password: test.password})
			if err != nil || c.UserID != u.ID {
				t.Errorf("authenticate = %+v, %v; want the credential of %s", c, err, u.ID)
			}
			if a := f.store.Attempts(); len(a) != 1 || a[0].Outcome != account.OutcomeSuccess || a[0].UserID != u.ID {
				t.Errorf("recorded %+v, want one success", a)
			}
			if f.hasher.hashes != 1 {
				t.Errorf("%d hashes, want that of the registration alone", f.hasher.hashes)
			}
		})
	}
}

func TestAuthenticateFailures(t *testing.T) {
	down := unavailable.New("mongodb", "find", errors.New("down"))
	for _, test := range []struct {
		name  string
		spoil func(f fixture)
		check func(err error) bool
	}{
		{"store down", func(f fixture) { f.store.lookup = down }, unavailable.Is},
		{"busy", func(f fixture) { f.hasher.err = &password.BusyError{RetryAfter: time.Second} }, func(err error) bool { return errors.Is(err, password.ErrBusy) }},
		{"audit down", func(f fixture) { f.store.audit = down }, func(err error) bool { return err == nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			f.register(t, "alice")
			test.spoil(f)
			_, err := f.Authenticate(t.Context(), account.LoginRequest{Username: "alice", Password: secret})
			if !test.check(err) {
				t.Errorf("authenticate: %v", err)
			}
			if wantLog := test.name != "busy"; (f.log.Len() > 0) != wantLog {
				t.Errorf("log %q, want some: %t", f.log, wantLog)
			}
			if strings.Contains(f.log.String(), secret) {
				t.Error("the log shows the password")
			}
		})
	}
}

// An attempt is recorded also when the client hangs up during the hash: who
// guesses passwords must not escape the audit that way.
func TestAuthenticateRecordsForAClientThatHasGone(t *testing.T) {
	f := newFixture(t)
	f.register(t, "alice")
	ctx, cancel := context.WithCancel(t.Context())
	f.hasher.onWork = cancel
	_, _ = f.Authenticate(ctx, account.LoginRequest{Username: "alice", Password: "wrong horse"})
	if a := f.store.Attempts(); len(a) != 1 {
		t.Errorf("%d attempts recorded, want 1", len(a))
	}
}

func TestAuthenticateHashesAnew(t *testing.T) {
	const stale = "old:" + secret
	for _, test := range []struct {
		name, password string
		replace        error
		want           string
		logged         bool
	}{
		{"right password", secret, nil, "new:" + secret, false},
		{"wrong password", "wrong horse", nil, stale, false},
		{"store fails", secret, errors.New("down"), stale, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			err := f.store.CreateUser(t.Context(), account.User{ID: "u", Canonical: "alice"}, account.Credential{Canonical: "alice", UserID: "u", Password: stale})
			if err != nil {
				t.Fatal(err)
			}
			f.store.replace = test.replace
			_, err = f.Authenticate(t.Context(), account.LoginRequest{Username: "alice", Password: test.password})
			if (err == nil) != (test.password == secret) {
				t.Errorf("authenticate: %v", err)
			}
			c, err := f.store.Store.Credential(t.Context(), "alice")
			if err != nil || c.Password != test.want {
				t.Errorf("stored password %q, %v; want %q", c.Password, err, test.want)
			}
			if (f.log.Len() > 0) != test.logged || strings.Contains(f.log.String(), secret) {
				t.Errorf("log %q, want some: %t, and no password", f.log, test.logged)
			}
		})
	}
}

// fullHasher is one that has no place for a second hash.
type fullHasher struct{ *countingHasher }

func (h fullHasher) Hash(ctx context.Context, _ string) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

// A login does not wait twice for its turn because its hash is to be renewed.
func TestHashingAnewDoesNotHoldUpALogin(t *testing.T) {
	f := newFixture(t)
	service, err := account.NewService(account.ServiceConfig{
		Store: f.store, Hasher: fullHasher{f.hasher}, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	err = f.store.CreateUser(t.Context(), account.User{ID: "u", Canonical: "alice"}, account.Credential{Canonical: "alice", UserID: "u", Password: "old:" + secret})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := service.Authenticate(ctx, account.LoginRequest{Username: "alice", Password: secret}); err != nil || ctx.Err() != nil {
		t.Errorf("authenticate: %v, %v", err, ctx.Err())
	}
}

func TestNewService(t *testing.T) {
	valid := account.ServiceConfig{Store: memstore.New(), Hasher: &countingHasher{}}
	for _, test := range []struct {
		name  string
		spoil func(c *account.ServiceConfig)
		ok    bool
	}{
		{"defaults", func(*account.ServiceConfig) {}, true},
		{"longer passwords", func(c *account.ServiceConfig) { c.MinPasswordLength = 15 }, true},
		{"shorter passwords", func(c *account.ServiceConfig) { c.MinPasswordLength = 7 }, false},
		{"passwords longer than there are", func(c *account.ServiceConfig) { c.MinPasswordLength = 129 }, false},
		{"no store", func(c *account.ServiceConfig) { c.Store = nil }, false},
		{"no hasher", func(c *account.ServiceConfig) { c.Hasher = nil }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := valid
			test.spoil(&c)
			s, err := account.NewService(c)
			if (err == nil) != test.ok {
				t.Fatalf("new service: %v", err)
			}
			if c.MinPasswordLength != 15 {
				return
			}
			var invalid *account.InvalidError
			if _, err := s.Register(t.Context(), account.Registration{Username: "alice", Password: "only 14 chars!"}); !errors.As(err, &invalid) || !strings.Contains(invalid.Reason, "15 to 128") {
				t.Errorf("register with a short password: %v", err)
			}
		})
	}
}

// The real hasher fits.
var _ account.Hasher = (*password.Hasher)(nil)

func TestWithArgon2id(t *testing.T) {
	store := memstore.New()
	login := account.LoginRequest{Username: "alice", Password: secret}
	for _, params := range []password.Params{password.DefaultParams, {MemoryKiB: 12288, Time: 3, Parallelism: 1}} {
		hasher, err := password.NewHasher(password.Config{Params: params})
		if err != nil {
			t.Fatal(err)
		}
		s, err := account.NewService(account.ServiceConfig{Store: store, Hasher: hasher})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Register(t.Context(), account.Registration{Username: "alice", Password: secret}); err != nil && !errors.Is(err, account.ErrUsernameTaken) {
			t.Fatal(err)
		}
		if _, err := s.Authenticate(t.Context(), login); err != nil {
			t.Errorf("authenticate: %v", err)
		}
		c, err := store.Credential(t.Context(), "alice")
		if err != nil || hasher.Stale(c.Password) {
			t.Errorf("stored %q (%v), want a hash of %+v", c.Password, err, params)
		}
	}
}
