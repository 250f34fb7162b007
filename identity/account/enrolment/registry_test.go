package enrolment_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/enrolment"
	"github.com/earlybird/earlybird/identity/account/memstore"
	"github.com/earlybird/earlybird/identity/limit"
	"github.com/earlybird/earlybird/identity/unavailable"
)

var now = time.Date(2026, 11, 22, 9, 8, 7, 654_000_000, time.UTC)

// watchedStore notes which calls are made, and fails as it is told to.
type watchedStore struct {
	*memstore.Store
	mu    sync.Mutex
	calls []string
	err   error
}

func (s *watchedStore) called(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, name)
	return s.err
}

func (s *watchedStore) Code(ctx context.Context, hash string) (enrolment.Issue, error) {
	if err := s.called("code"); err != nil {
		return enrolment.Issue{}, err
	}
	return s.Store.Code(ctx, hash)
}

func (s *watchedStore) Issue(ctx context.Context, customer string, number int64) (enrolment.Issue, error) {
	if err := s.called("issue"); err != nil {
		return enrolment.Issue{}, err
	}
	return s.Store.Issue(ctx, customer, number)
}

func (s *watchedStore) Claim(ctx context.Context, customer string) (enrolment.Claim, error) {
	if err := s.called("claim"); err != nil {
		return enrolment.Claim{}, err
	}
	return s.Store.Claim(ctx, customer)
}

func (s *watchedStore) Credential(ctx context.Context, canonical string) (account.Credential, error) {
	if err := s.called("credential"); err != nil {
		return account.Credential{}, err
	}
	return s.Store.Credential(ctx, canonical)
}

// watchedHasher counts what it hashes.
type watchedHasher struct{ hashed, queued int }

func (h *watchedHasher) Enter(ctx context.Context) (context.Context, func(), error) {
	h.queued++
	return ctx, func() {}, nil
}

func (h *watchedHasher) Hash(_ context.Context, password string) (string, error) {
	h.hashed++
	return password, nil
}

func (h *watchedHasher) HashIf(ctx context.Context, password string, admit func() error) (string, error) {
	if err := admit(); err != nil {
		return "", err
	}
	return h.Hash(ctx, password)
}

func (h *watchedHasher) Verify(_ context.Context, encoded, password string) (bool, error) {
	h.hashed++
	return encoded == password, nil
}

func (h *watchedHasher) VerifyNobody(context.Context, string) error { h.hashed++; return nil }

func (h *watchedHasher) Stale(string) bool { return false }

// gate is a Limiter that counts, and refuses when it is closed.
type gate struct {
	taken  int
	closed bool
}

func (g *gate) Take(context.Context, string, string) (account.Pass, error) {
	g.taken++
	if g.closed {
		return nil, &limit.LimitedError{Limit: limit.ByAddress, RetryAfter: time.Second}
	}
	return g, nil
}
func (*gate) Remember(context.Context, string, string) {}
func (*gate) Succeeded(context.Context)                {}
func (*gate) Undecided(context.Context)                {}

type fixture struct {
	*account.Service
	admin  *enrolment.Admin
	store  *watchedStore
	hasher *watchedHasher
	gate   *gate
	now    time.Time
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{store: &watchedStore{Store: memstore.New()}, hasher: &watchedHasher{}, gate: &gate{}, now: now}
	clock := func() time.Time { return f.now }
	f.admin = enrolment.NewAdmin(enrolment.AdminConfig{Store: f.store, By: "carol", Now: clock})
	var err error
	f.Service, err = account.NewService(account.ServiceConfig{
		Store: f.store, Hasher: f.hasher, Limiter: f.gate, Now: clock, Enrolment: enrolment.NewRegistry(f.store, clock),
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// issue gives a customer a code that is good for an hour.
func (f *fixture) issue(t *testing.T, customer string) enrolment.Code {
	t.Helper()
	issued, err := f.admin.Issue(t.Context(), []string{customer}, f.now.Add(time.Hour), true)
	if err != nil || issued[0].Code == "" {
		t.Fatalf("issue: %+v, %v", issued, err)
	}
	return issued[0].Code
}

const goodPassword = "correct horse battery staple"

func (f *fixture) register(t *testing.T, username string, code fmt.Stringer) (account.User, error) {
	t.Helper()
	f.store.calls, f.hasher.hashed, f.hasher.queued, f.gate.taken = nil, 0, 0, 0
	return f.Register(t.Context(), account.Registration{Username: username, Password: goodPassword, Code: code.String(), IP: "192.0.2.1"})
}

// Whatever is wrong with a code, the answer is the same, and so is all that is
// done for it: three lookups, none of the name, and no hash.
func TestRefusedCodes(t *testing.T) {
	f := newFixture(t)
	used := f.issue(t, "used")
	if _, err := f.register(t, "alice", used); err != nil {
		t.Fatal(err)
	}
	revoked := f.issue(t, "revoked")
	if _, err := f.admin.Revoke(t.Context(), "revoked"); err != nil {
		t.Fatal(err)
	}
	replaced := f.issue(t, "replaced")
	f.issue(t, "replaced")
	expired := f.issue(t, "expired")
	gone := f.issue(t, "deleted")
	u, err := f.register(t, "gone", gone)
	if err != nil {
		t.Fatal(err)
	}
	f.store.RemoveAccount(u.ID)
	for name, code := range map[string]enrolment.Code{
		"unknown": enrolment.NewCode(), "used": used, "revoked": revoked, "replaced": replaced, "expired": expired, "of a deleted account": gone,
	} {
		if name == "expired" {
			f.now = now.Add(time.Hour)
		}
		for _, username := range []string{"alice", "bob"} { // taken and free
			_, err := f.register(t, username, code)
			if !errors.Is(err, account.ErrCode) {
				t.Errorf("%s: %v, want ErrCode", name, err)
			}
			if want := []string{"code", "issue", "claim"}; !slices.Equal(f.store.calls, want) {
				t.Errorf("%s: calls %v, want %v", name, f.store.calls, want)
			}
			if f.hasher.hashed != 0 || f.hasher.queued != 1 || f.gate.taken != 1 {
				t.Errorf("%s: %d hashes, %d in the queue, %d counted at the address; want none, 1, 1", name, f.hasher.hashed, f.hasher.queued, f.gate.taken)
			}
			if strings.Contains(fmt.Sprint(err), string(code)) {
				t.Errorf("%s: the error holds the code", name)
			}
		}
		f.now = now
	}
	if _, err := f.register(t, "bob", expired); err != nil {
		t.Errorf("a code that has not expired: %v", err)
	}
}

// What is wrong with a request is said before anything is looked up, and uses no
// code up.
func TestRefusedRequestsKeepTheCode(t *testing.T) {
	f := newFixture(t)
	if _, err := f.register(t, "taken", f.issue(t, "C-0")); err != nil {
		t.Fatal(err)
	}
	code := f.issue(t, "C-1")
	mistyped := []byte(code)
	mistyped[3], mistyped[4] = mistyped[4], mistyped[3]
	if mistyped[3] == mistyped[4] {
		mistyped[3] = "01"[(mistyped[3]&1)^1]
	}
	var invalid *account.InvalidError
	for _, tt := range []struct {
		name, username, password, code string
		closed                         bool
		want                           error
		looked                         bool
	}{
		{name: "mistyped code", username: "alice", password: goodPassword, code: string(mistyped)},
		{name: "no code", username: "alice", password: goodPassword},
		{name: "invalid name", username: "a", password: goodPassword, code: string(code)},
		{name: "short password", username: "alice", password: "short", code: string(code)},
		{name: "limited", username: "alice", password: goodPassword, code: string(code), closed: true, want: limit.ErrLimited},
		{name: "taken name", username: "Taken", password: goodPassword, code: string(code), want: account.ErrUsernameTaken, looked: true},
	} {
		f.store.calls, f.gate.closed = nil, tt.closed
		_, err := f.Register(t.Context(), account.Registration{Username: tt.username, Password: tt.password, Code: tt.code})
		if tt.want == nil && !errors.As(err, &invalid) || tt.want != nil && !errors.Is(err, tt.want) || errors.Is(err, account.ErrCode) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if (len(f.store.calls) > 0) != tt.looked {
			t.Errorf("%s: calls %v", tt.name, f.store.calls)
		}
	}
	f.gate.closed = false
	u, err := f.register(t, "Alice", code)
	if err != nil || u.Customer != "C-1" {
		t.Errorf("with the code that is left: %+v, %v", u, err)
	}
	if f.hasher.hashed != 1 {
		t.Errorf("%d hashes, want 1", f.hasher.hashed)
	}
}

// A store that does not answer is an outage, and no wrong code.
func TestEnrolmentOutage(t *testing.T) {
	f := newFixture(t)
	code := f.issue(t, "C-1")
	f.store.err = unavailable.New("store", "any", errors.New("down"))
	if _, err := f.register(t, "alice", code); !unavailable.Is(err) {
		t.Errorf("= %v, want an *unavailable.Error", err)
	}
	if _, err := f.admin.Issue(t.Context(), []string{"C-2"}, now.Add(time.Hour), false); !unavailable.Is(err) {
		t.Errorf("issue = %v, want an *unavailable.Error", err)
	}
	f.store.err = nil
	if _, err := f.register(t, "alice", code); err != nil {
		t.Error(err)
	}
}

// Anybody may register where no code is asked for, and whatever is in its place.
func TestOpenRegistration(t *testing.T) {
	store := memstore.New()
	s, err := account.NewService(account.ServiceConfig{Store: store, Hasher: &watchedHasher{}})
	if err != nil {
		t.Fatal(err)
	}
	u, err := s.Register(t.Context(), account.Registration{Username: "alice", Password: goodPassword})
	if err != nil || u.Customer != "" {
		t.Errorf("= %+v, %v", u, err)
	}
}
