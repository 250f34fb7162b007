package account_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/memstore"
	"github.com/earlybird/earlybird/identity/limit"
	"github.com/earlybird/earlybird/identity/password"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// audited is a service whose gaps in the audit are counted.
type audited struct {
	fixture
	user account.User
	lost map[account.Outcome]int
}

func newAudited(t *testing.T, limits limit.Config) *audited {
	t.Helper()
	a := &audited{
		fixture: fixture{store: &brokenStore{Store: memstore.New()}, hasher: &countingHasher{prefix: "new:"}, log: &bytes.Buffer{}},
		lost:    map[account.Outcome]int{},
	}
	var err error
	a.Service, err = account.NewService(account.ServiceConfig{
		Store: a.store, Hasher: a.hasher, Revoker: newGenerations(), Limiter: limiter{limit.New(limits)},
		Unrecorded: func(o account.Outcome) { a.lost[o]++ },
		Now:        func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(a.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	a.user = a.register(t, "alice")
	a.store.lookups = 0
	return a
}

func (a *audited) login(ctx context.Context, username, password string) error {
	_, err := a.Authenticate(ctx, account.LoginRequest{Username: username, Password: password, IP: "192.0.2.1", RequestID: "r"})
	return err
}

// What could not be decided is in the audit too, without a look into the store
// beyond the one that every login takes.
func TestUndecidedAttemptsAreAudited(t *testing.T) {
	busy := &password.BusyError{RetryAfter: time.Second}
	for _, test := range []struct {
		name, username string
		err            error
		known          bool
		want           account.Outcome
	}{
		{"busy", "ALICE", busy, true, account.OutcomeBusy},
		{"busy, unknown name", "bob", busy, false, account.OutcomeBusy},
		{"client gone", "alice", context.Canceled, true, account.OutcomeCanceled},
		{"time over", "alice", context.DeadlineExceeded, true, account.OutcomeUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAudited(t, limit.Config{})
			a.hasher.err = test.err
			if err := a.login(t.Context(), test.username, secret); !errors.Is(err, test.err) {
				t.Fatal(err)
			}
			want := account.Attempt{At: now.UTC(), Outcome: test.want, IP: "192.0.2.1", RequestID: "r"}
			if test.known {
				want.UserID = a.user.ID
			}
			if all := a.store.Attempts(); len(all) != 1 || all[0] != want {
				t.Errorf("audit %+v, want %+v alone", all, want)
			}
			if a.store.lookups != 1 || len(a.lost) != 0 {
				t.Errorf("%d lookups, lost %v", a.store.lookups, a.lost)
			}
		})
	}
}

// A login or registration that the queue has no place for asks the store nothing,
// and every place that was taken is released in the end. Checked by entering after
// the lookup, and by not releasing.
func TestRequestsBeyondTheQueueCostNothing(t *testing.T) {
	a := newAudited(t, limit.Config{})
	change := account.ChangeRequest{UserID: a.user.ID, Current: secret, New: strong, IP: "192.0.2.1", RequestID: "r"}
	calls := []func() error{
		func() error { return a.login(t.Context(), "alice", secret) },
		func() error {
			_, err := a.Register(t.Context(), account.Registration{Username: "bob", Password: strong})
			return err
		},
		func() error { return a.ChangePassword(t.Context(), change) },
	}
	a.hasher.full = &password.BusyError{RetryAfter: time.Second}
	for i, call := range calls {
		if err := call(); !errors.Is(err, password.ErrBusy) {
			t.Errorf("call %d: %v, want ErrBusy", i, err)
		}
	}
	if a.store.lookups != 0 {
		t.Errorf("%d lookups for requests that have no place", a.store.lookups)
	}
	users := map[string]int{}
	for _, attempt := range a.store.Attempts() {
		if attempt.Outcome != account.OutcomeBusy {
			t.Errorf("audit %+v", attempt)
		}
		users[attempt.UserID]++
	}
	if len(users) != 2 || users[""] != 1 || users[a.user.ID] != 1 {
		t.Errorf("audited by user: %v, want the login and the change", users)
	}
	a.hasher.full = nil
	for i, call := range calls {
		if err := call(); err != nil || a.hasher.queued != 0 {
			t.Errorf("call %d: %v, %d places are not released", i, err, a.hasher.queued)
		}
	}
}

// No audit holds a place in the queue: with a slow MongoDB, refused attempts of
// one address, which cost their sender nothing, would keep everybody's logins out.
// Checked by releasing at the end.
func TestNoAuditHoldsAPlaceInTheQueue(t *testing.T) {
	once := limit.Config{Both: limit.Rate{Burst: 1, Every: time.Hour}}
	for name, test := range map[string]struct {
		limits limit.Config
		hash   error
		want   account.Outcome
	}{
		"wrong":   {limit.Config{}, nil, account.OutcomeWrongPassword},
		"limited": {once, nil, account.OutcomeLimited},
		"busy":    {limit.Config{}, &password.BusyError{RetryAfter: time.Second}, account.OutcomeBusy},
		"gone":    {limit.Config{}, context.Canceled, account.OutcomeCanceled},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAudited(t, test.limits)
			change := account.ChangeRequest{UserID: a.user.ID, Current: "wrong", New: strong, IP: "192.0.2.1"}
			_ = a.ChangePassword(t.Context(), change) // uses the limit up
			a.hasher.err = test.hash
			audited := 0
			a.store.onAudit = func(got account.Attempt) {
				audited++
				if got.Outcome != test.want || a.hasher.queued != 0 {
					t.Errorf("audit of %q while %d places are taken, want %q and none", got.Outcome, a.hasher.queued, test.want)
				}
			}
			_ = a.login(t.Context(), "alice", "wrong")
			_ = a.ChangePassword(t.Context(), change)
			if audited != 2 {
				t.Errorf("%d audits, want 2", audited)
			}
		})
	}
}

func TestUndecidedChangeOfPasswordIsAudited(t *testing.T) {
	a := newAudited(t, limit.Config{})
	a.hasher.err = &password.BusyError{RetryAfter: time.Second}
	err := a.ChangePassword(t.Context(), account.ChangeRequest{UserID: a.user.ID, Current: secret, New: strong, IP: "192.0.2.1", RequestID: "r"})
	if !errors.Is(err, password.ErrBusy) {
		t.Fatal(err)
	}
	want := account.Attempt{UserID: a.user.ID, At: now.UTC(), Outcome: account.OutcomeBusy, IP: "192.0.2.1", RequestID: "r"}
	if all := a.store.Attempts(); len(all) != 1 || all[0] != want {
		t.Errorf("audit %+v, want %+v alone", all, want)
	}
}

// A flood of busy answers is no flood of writes; what is not written is counted.
func TestAuditOfUndecidedIsBounded(t *testing.T) {
	a := newAudited(t, limit.Config{})
	a.hasher.err = &password.BusyError{RetryAfter: time.Second}
	for range 1000 {
		_ = a.login(t.Context(), "alice", secret)
	}
	if n, lost := len(a.store.Attempts()), a.lost[account.OutcomeBusy]; n != 100 || lost != 900 {
		t.Errorf("%d attempts in the audit and %d counted, want 100 and 900", n, lost)
	}
}

// What MongoDB does not take is counted, and logged with what the audit would
// have held. It is not asked again when it has just not answered.
func TestAttemptsWithoutMongoDB(t *testing.T) {
	down := unavailable.New("mongodb", "find", errors.New("down"))
	limits := limit.Config{Both: limit.Rate{Burst: 1, Every: time.Hour}}
	for _, test := range []struct {
		name, password string
		spoil          func(a *audited)
		want           account.Outcome
	}{
		{"nothing can be read", secret, func(a *audited) { a.store.lookup = down }, account.OutcomeUnavailable},
		{"nothing can be written", secret, func(a *audited) { a.store.audit = down }, account.OutcomeSuccess},
		{"limited", "wrong horse", func(a *audited) { _ = a.login(context.Background(), "alice", "wrong horse"); a.store.lookup = down }, account.OutcomeLimited},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAudited(t, limits)
			test.spoil(a)
			before := len(a.store.Attempts())
			_ = a.login(t.Context(), "alice", test.password)
			if a.lost[test.want] != 1 || len(a.lost) != 1 {
				t.Errorf("counted %v, want one %s", a.lost, test.want)
			}
			if n := len(a.store.Attempts()) - before; n != 0 {
				t.Errorf("%d attempts written", n)
			}
			for _, part := range []string{"login attempt not recorded", "outcome=" + string(test.want), "address=192.0.2.1"} {
				if !strings.Contains(a.log.String(), part) {
					t.Errorf("no %s in the log: %s", part, a.log)
				}
			}
		})
	}
}
