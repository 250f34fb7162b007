package mongostore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/keyring"
	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// through opens a store behind a proxy. The monitor may be nil.
func through(t *testing.T, m *event.CommandMonitor) (*Store, *proxy) {
	t.Helper()
	p, url := newProxy(t, testserver.Mongo(t))
	url = with(t, url, "directConnection=true", "serverSelectionTimeoutMS=1000", "heartbeatFrequencyMS=500")
	return open(t, Config{URL: url, Timeout: 2 * time.Second, Monitor: m}), p
}

// calls lists every method of a store, each with valid arguments.
func calls(s *Store) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"ping": s.Ping,
		"create": func(ctx context.Context) error {
			return s.CreateUser(ctx, account.User{ID: "u2", Canonical: "bob"}, account.Credential{Canonical: "bob", UserID: "u2"})
		},
		"credential": func(ctx context.Context) error { _, err := s.Credential(ctx, "alice"); return err },
		"replace":    func(ctx context.Context) error { return s.ReplacePassword(ctx, "alice", "", "new") },
		"replace whole": func(ctx context.Context) error {
			whole := account.Credential{Canonical: "alice", UserID: "u1"}
			err := s.ReplaceCredential(ctx, whole, whole)
			if errors.Is(err, account.ErrChanged) { // by "replace", once the outage is over
				return nil
			}
			return err
		},
		"action": func(ctx context.Context) error { return s.RecordAction(ctx, Action{At: time.Now()}) },
		"revoke": func(ctx context.Context) error {
			return s.AddRevocation(ctx, revocation.Revocation{TokenID: rand.Text(), Until: time.Now()})
		},
		"revocations": func(ctx context.Context) error {
			for _, err := range s.Revocations(ctx, time.Time{}, time.Now()) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"prune":   func(ctx context.Context) error { return s.PruneRevocations(ctx, time.Now()) },
		"user":    func(ctx context.Context) error { _, err := s.User(ctx, "u1"); return err },
		"attempt": func(ctx context.Context) error { return s.RecordAttempt(ctx, account.Attempt{At: time.Now()}) },
		"keys":    func(ctx context.Context) error { _, err := s.Keys(ctx); return err },
		"append": func(ctx context.Context) error {
			err := s.Append(ctx, campaign.Entry{Campaign: 1})
			if errors.Is(err, campaign.ErrTaken) { // by one that got through although its answer did not
				return nil
			}
			return err
		},
		"entry": func(ctx context.Context) error {
			_, err := s.Entry(ctx, 2, 0)
			if errors.Is(err, campaign.ErrNoEntry) {
				return nil
			}
			return err
		},
		"entries": func(ctx context.Context) error {
			for _, err := range s.Entries(ctx, 2, 0) {
				return err
			}
			return nil
		},
		"clock":   func(ctx context.Context) error { _, err := s.Now(ctx); return err },
		"add key": func(ctx context.Context) error { return s.AddKey(ctx, keyring.Record{ID: "1"}) },
	}
}

func createAlice(t *testing.T, s *Store) {
	t.Helper()
	err := s.CreateUser(t.Context(), account.User{ID: "u1", Canonical: "alice"}, account.Credential{Canonical: "alice", UserID: "u1"})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOutage(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(p *proxy, out bool)
	}{
		{"server is down", (*proxy).SetDown},
		{"server hangs", (*proxy).setHung},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, p := through(t, nil)
			createAlice(t, s)
			test.set(p, true)
			each(s, func(op string, call func(ctx context.Context) error) {
				start := time.Now()
				err := call(t.Context())
				var out *unavailable.Error
				if !errors.As(err, &out) || out.Dependency != "mongodb" {
					t.Errorf("%s: %v, want an outage of mongodb", op, err)
				}
				if took := time.Since(start); took > 4*time.Second {
					t.Errorf("%s took %s", op, took)
				}
			})
			test.set(p, false)
			each(s, func(op string, call func(ctx context.Context) error) {
				if err := heal(t, call); err != nil {
					t.Errorf("%s after the outage: %v", op, err)
				}
			})
		})
	}
}

// each checks all methods at once.
func each(s *Store, check func(op string, call func(ctx context.Context) error)) {
	var done sync.WaitGroup
	for op, call := range calls(s) {
		done.Go(func() { check(op, call) })
	}
	done.Wait()
}

// heal repeats a call until it is no longer an outage.
func heal(t *testing.T, call func(ctx context.Context) error) error {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := call(t.Context())
		if !unavailable.Is(err) || time.Now().After(deadline) {
			return err
		}
	}
}

func TestOpenWithoutServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	_, err = Open(t.Context(), Config{URL: "mongodb://" + address + "/?serverSelectionTimeoutMS=200"})
	if !unavailable.Is(err) {
		t.Errorf("open without a server: %v, want an outage", err)
	}
}

// An answer that was lost is asked for again, and what the first try stored is
// not held against the second.
func TestLostAnswer(t *testing.T) {
	alice := account.User{ID: "u1", Canonical: "alice"}
	secret := account.Credential{Canonical: "alice", UserID: "u1"}
	for _, test := range []struct {
		collection string
		call       func(ctx context.Context, s *Store) error
		want       error
	}{
		{"users", func(ctx context.Context, s *Store) error { return s.CreateUser(ctx, alice, secret) }, nil},
		{"credentials", func(ctx context.Context, s *Store) error { return s.CreateUser(ctx, alice, secret) }, nil},
		{"logins", func(ctx context.Context, s *Store) error { return s.RecordAttempt(ctx, account.Attempt{}) }, nil},
		{"keys", func(ctx context.Context, s *Store) error {
			return s.AddKey(ctx, keyring.Record{ID: "1", Sealed: []byte("sealed")})
		}, keyring.ErrKeyExists},
		{"actions", func(ctx context.Context, s *Store) error { return s.RecordAction(ctx, Action{}) }, nil},
		{"revocations", func(ctx context.Context, s *Store) error {
			return s.AddRevocation(ctx, revocation.Revocation{TokenID: "T"})
		}, revocation.ErrExists},
	} {
		t.Run(test.collection, func(t *testing.T) {
			s, p := through(t, nil)
			p.loseAnswer("insert\x00", test.collection)
			if err := test.call(t.Context(), s); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if !p.lost() {
				t.Error("no answer was lost: the test is wrong")
			}
			n, err := s.db.Collection(test.collection).CountDocuments(t.Context(), bson.D{})
			if err != nil || n != 1 {
				t.Errorf("%d documents in %s (%v), want 1", n, test.collection, err)
			}
		})
	}
}

// A profile that the secondary does not have yet is read from the primary: the
// fall-back must also be what finds it on a server that is alone.
func TestUserFallsBackToThePrimary(t *testing.T) {
	s := open(t, Config{})
	createAlice(t, s)
	s.profiles = s.client.Database("a_secondary_that_is_behind")
	if _, err := s.User(t.Context(), "u1"); !errors.Is(err, account.ErrNotFound) {
		t.Fatalf("without fall-back: %v, want ErrNotFound: the test is wrong", err)
	}
	s.behind = true
	if u, err := s.User(t.Context(), "u1"); err != nil || u.ID != "u1" {
		t.Errorf("user = %+v, %v; want it from the primary", u, err)
	}
}

// poolCleared is how the driver fails what waited for a connection while
// another operation found the server gone.
type poolCleared struct{}

func (poolCleared) Error() string   { return "connection pool was cleared" }
func (poolCleared) Retryable() bool { return true }

func TestClassify(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want bool
	}{
		{"stepped down", mongo.CommandError{Code: 189}, true},
		{"not primary", mongo.CommandError{Code: 10107}, true},
		{"shutting down", mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: 91}}}, true},
		{"not durable", mongo.WriteException{WriteConcernError: &mongo.WriteConcernError{Code: 79}}, true},
		{"several not durable", mongo.BulkWriteException{WriteConcernError: &mongo.WriteConcernError{Code: 79}}, true},
		{"labelled", mongo.CommandError{Code: 1, Labels: []string{"RetryableWriteError"}}, true},
		{"network", mongo.CommandError{Labels: []string{"NetworkError"}}, true},
		{"taken down by another operation", poolCleared{}, true},
		{"deadline", fmt.Errorf("wrapped: %w", context.DeadlineExceeded), true},
		{"closed", mongo.ErrClientDisconnected, true},
		{"caller has gone", fmt.Errorf("wrapped: %w", context.Canceled), false},
		{"unauthorized", mongo.CommandError{Code: 13}, true},
		{"disk full", mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: 14031}}}, true},
		{"disk full, several", mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{{WriteError: mongo.WriteError{Code: 14031}}}}, true},
		{"internal error", mongo.CommandError{Code: 1}, true},
		{"duplicate key", mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: 11000}}}, false},
		{"duplicate key, not durable", mongo.BulkWriteException{
			WriteErrors: []mongo.BulkWriteError{{WriteError: mongo.WriteError{Code: 11000}}}, WriteConcernError: &mongo.WriteConcernError{Code: 79},
		}, true},
		{"something else", io.ErrUnexpectedEOF, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := classify("op", test.err)
			if unavailable.Is(got) != test.want {
				t.Errorf("classify = %v, outage %t, want %t", got, !test.want, test.want)
			}
		})
	}
	if classify("op", nil) != nil {
		t.Error("classify(nil) is an error")
	}
}
