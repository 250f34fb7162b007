package account_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/memstore"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// generations is what MongoDB and Redis are told of generations.
type generations struct {
	mu        sync.Mutex
	stored    map[string]int64
	announced map[string]int64

	raiseErr, announceErr error
	onRaise               func(generation int64) // once, before RaiseGeneration returns
}

func newGenerations() *generations {
	return &generations{stored: map[string]int64{}, announced: map[string]int64{}}
}

func (g *generations) RaiseGeneration(_ context.Context, userID string, current int64) (int64, error) {
	g.mu.Lock()
	if g.raiseErr != nil {
		defer g.mu.Unlock()
		return 0, g.raiseErr
	}
	next := max(g.stored[userID], current) + 1
	g.stored[userID] = next
	hook := g.onRaise
	g.onRaise = nil
	g.mu.Unlock()
	if hook != nil {
		hook(next)
	}
	return next, nil
}

func (g *generations) AnnounceGeneration(ctx context.Context, userID string, generation int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.announceErr != nil {
		return g.announceErr
	}
	g.announced[userID] = max(g.announced[userID], generation)
	return nil
}

func (g *generations) Generation(userID string) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.announced[userID]
}

// publish announces what is stored, as the service does for a process that died.
func (g *generations) publish() {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.Copy(g.announced, g.stored)
}

// changeStore fails to replace a credential as it is told to.
type changeStore struct {
	*memstore.Store
	err error
}

func (s *changeStore) ReplaceCredential(ctx context.Context, old, next account.Credential) error {
	if s.err != nil {
		return s.err
	}
	return s.Store.ReplaceCredential(ctx, old, next)
}

type changing struct {
	*account.Service
	store       *changeStore
	hasher      *countingHasher
	generations *generations
	user        account.User
}

// newChanging returns a service with one account, whose password is secret.
func newChanging(t *testing.T) changing {
	t.Helper()
	c := changing{store: &changeStore{Store: memstore.New()}, hasher: &countingHasher{prefix: "new:"}, generations: newGenerations()}
	var err error
	c.Service, err = account.NewService(account.ServiceConfig{
		Store: c.store, Hasher: c.hasher, Revoker: c.generations, Generations: c.generations,
		Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.user, err = c.Register(t.Context(), account.Registration{Username: "Alice", Password: secret}); err != nil {
		t.Fatal(err)
	}
	return c
}

const another = "battery staple"

func (c changing) change(ctx context.Context, current, next string) error {
	return c.ChangePassword(ctx, account.ChangeRequest{
		UserID: c.user.ID, Current: current, New: next, IP: "192.0.2.1", RequestID: "r",
	})
}

func (c changing) login(ctx context.Context, password string) (account.Credential, error) {
	return c.Authenticate(ctx, account.LoginRequest{Username: "alice", Password: password})
}

// wantLogin logs in and returns the generation that a token is issued with.
func (c changing) wantLogin(t *testing.T, password string) int64 {
	t.Helper()
	credential, err := c.login(t.Context(), password)
	if err != nil {
		t.Fatalf("login: %v", err)
	}
	stored, err := c.store.Credential(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if stored.Generation < credential.Generation {
		t.Errorf("a token of generation %d was issued, the credential has %d", credential.Generation, stored.Generation)
	}
	return credential.Generation
}

func TestChangePassword(t *testing.T) {
	c := newChanging(t)
	before := c.wantLogin(t, secret)
	if err := c.change(t.Context(), secret, another); err != nil {
		t.Fatal(err)
	}
	if got := c.generations.announced[c.user.ID]; got <= before {
		t.Errorf("generation %d was announced, tokens of %d live on", got, before)
	}
	if _, err := c.login(t.Context(), secret); !errors.Is(err, account.ErrBadCredentials) {
		t.Errorf("login with the old password: %v, want ErrBadCredentials", err)
	}
	if got, least := c.wantLogin(t, another), c.generations.announced[c.user.ID]; got < least {
		t.Errorf("login with the new password has generation %d, which is dead below %d", got, least)
	}
	attempts := c.store.Attempts()
	want := account.Attempt{UserID: c.user.ID, At: now, Outcome: account.OutcomePasswordChanged, IP: "192.0.2.1", RequestID: "r"}
	if !slices.Contains(attempts, want) {
		t.Errorf("audit = %+v, want %+v in it", attempts, want)
	}
}

func TestChangePasswordRefused(t *testing.T) {
	for _, test := range []struct {
		name          string
		current, next string
		field         string
		work          int // verifications
	}{
		{"wrong current", "wrong horse", another, "current", 1},
		{"impossible current", "\x00", another, "current", 1},
		{"empty current", "", another, "current", 1},
		{"short new", secret, "short", "new", 0},
		{"impossible new", secret, "battery\x00staple", "new", 0},
		{"new is current", secret, secret, "new", 0},
		{"both wrong", "wrong horse", "short", "new", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newChanging(t)
			err := c.change(t.Context(), test.current, test.next)
			var invalid *account.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != test.field {
				t.Fatalf("change: %v, want an InvalidError of %s", err, test.field)
			}
			if c.hasher.work != test.work {
				t.Errorf("%d verifications, want %d", c.hasher.work, test.work)
			}
			if len(c.generations.stored) > 0 {
				t.Error("tokens were ended")
			}
			guesses := slices.IndexFunc(c.store.Attempts(), func(a account.Attempt) bool {
				return a.Outcome == account.OutcomeWrongPassword && a.UserID == c.user.ID && a.IP == "192.0.2.1"
			})
			if (guesses >= 0) != (test.field == "current") {
				t.Errorf("audit = %+v; a wrong guess belongs there, and nothing else", c.store.Attempts())
			}
			c.wantLogin(t, secret)
		})
	}
	t.Run("nobody", func(t *testing.T) {
		c := newChanging(t)
		c.user.ID = "nobody"
		if err := c.change(t.Context(), secret, another); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("change: %v, want ErrNotFound", err)
		}
	})
	t.Run("disabled", func(t *testing.T) {
		c := newChanging(t)
		c.store.Disable("alice", true)
		if err := c.change(t.Context(), secret, another); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("change: %v, want ErrNotFound", err)
		}
	})
}

// A crash after the generation is stored leaves the password as it was and a
// user who can log in; the tokens of before are dead as soon as it is found.
func TestCrashWhileChanging(t *testing.T) {
	c := newChanging(t)
	before := c.wantLogin(t, secret)
	c.store.err = errors.New("killed")
	if err := c.change(t.Context(), secret, another); err == nil {
		t.Fatal("the change succeeded")
	}
	c.store.err = nil
	c.generations.publish()
	after := c.wantLogin(t, secret)
	if least := c.generations.announced[c.user.ID]; before >= least || after < least {
		t.Errorf("tokens are dead below %d: those of before have %d, new ones %d", least, before, after)
	}
	if err := c.change(t.Context(), secret, another); err != nil {
		t.Fatal(err)
	}
	if least := c.generations.announced[c.user.ID]; after >= least {
		t.Errorf("a token of generation %d survives a change to %d", after, least)
	}
}

// When the raised generation is heard before the credential has changed, a
// login with the old password gets a token of that generation: it must not
// survive the change.
func TestLoginDuringChange(t *testing.T) {
	c := newChanging(t)
	var during int64
	c.generations.onRaise = func(int64) {
		c.generations.publish()
		during = c.wantLogin(t, secret)
	}
	if err := c.change(t.Context(), secret, another); err != nil {
		t.Fatal(err)
	}
	if least := c.generations.announced[c.user.ID]; during == 0 || during >= least {
		t.Errorf("a token of generation %d, had with the old password, survives a change to %d", during, least)
	}
	c.wantLogin(t, another)
}

// A password that is hashed anew meanwhile is looked at again.
func TestRehashDuringChange(t *testing.T) {
	for _, test := range []struct {
		name, stored string
		field        string
	}{
		{"the same password", "other:" + secret, ""},
		{"another password", "other:changed by somebody else", "current"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newChanging(t)
			c.generations.onRaise = func(int64) {
				if err := c.store.ReplacePassword(t.Context(), "alice", "new:"+secret, test.stored); err != nil {
					t.Error(err)
				}
			}
			err := c.change(t.Context(), secret, another)
			var invalid *account.InvalidError
			if errors.As(err, &invalid) != (test.field != "") || (invalid == nil && err != nil) {
				t.Fatalf("change: %v, want a refusal: %t", err, test.field != "")
			}
			if invalid == nil {
				c.wantLogin(t, another)
			}
		})
	}
}

func TestChangeWithoutRedis(t *testing.T) {
	c := newChanging(t)
	c.generations.announceErr = unavailable.New("redis", "announce", errors.New("down"))
	if err := c.change(t.Context(), secret, another); !unavailable.Is(err) || !errors.Is(err, account.ErrNotAnnounced) {
		t.Errorf("change: %v, want an outage and ErrNotAnnounced", err)
	}
	if last := c.store.Attempts(); len(last) != 1 || last[0].Outcome != account.OutcomePasswordChanged {
		t.Errorf("audit = %+v, want the change", last)
	}
	c.wantLogin(t, another)
	if c.generations.stored[c.user.ID] != 1 {
		t.Error("the generation is not stored")
	}
}

func TestChangeWithoutMongoDB(t *testing.T) {
	c := newChanging(t)
	c.generations.raiseErr = unavailable.New("mongodb", "add revocation", errors.New("down"))
	if err := c.change(t.Context(), secret, another); !unavailable.Is(err) {
		t.Errorf("change: %v, want an outage", err)
	}
	c.wantLogin(t, secret)
}

// A client that goes away in the middle leaves nothing half done.
func TestClientGoneDuringChange(t *testing.T) {
	c := newChanging(t)
	ctx, cancel := context.WithCancel(t.Context())
	c.generations.onRaise = func(int64) { cancel() }
	if err := c.change(ctx, secret, another); err != nil {
		t.Fatal(err)
	}
	c.wantLogin(t, another)
}

// Somebody who keeps changing the account is no reason to go on for ever.
func TestChangeGivesUp(t *testing.T) {
	c := newChanging(t)
	c.store.err = account.ErrChanged
	if err := c.change(t.Context(), secret, another); !unavailable.Is(err) {
		t.Errorf("change: %v, want an outage", err)
	}
	if c.hasher.work != 1 {
		t.Errorf("%d verifications of one password, want 1", c.hasher.work)
	}
	c.generations.publish()
	if _, err := c.login(t.Context(), secret); !unavailable.Is(err) {
		t.Errorf("login: %v, want an outage", err)
	}
}
