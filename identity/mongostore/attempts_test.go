package mongostore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/outage"
)

// gate holds the inserts of attempts until the test opens it, and notes how
// many attempts each has.
type gate struct {
	open chan struct{}

	mu      sync.Mutex
	inserts []int
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) monitor() *event.CommandMonitor {
	return &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		if into, _ := e.Command.Lookup("insert").StringValueOK(); into != "logins" {
			return
		}
		documents, _ := e.Command.Lookup("documents").Array().Values()
		g.mu.Lock()
		g.inserts = append(g.inserts, len(documents))
		g.mu.Unlock()
		<-g.open
	}}
}

func (g *gate) seen() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.inserts)
}

// attempt is recorded by the test, with this request id.
func attempt(requestID string) account.Attempt {
	return account.Attempt{UserID: "u", At: time.Now().UTC().Truncate(time.Millisecond), RequestID: requestID}
}

// record records attempts one after the other, none of which is answered while
// the gate is closed.
func (g *gate) record(ctx context.Context, t *testing.T, s *Store, requestIDs ...string) []chan error {
	t.Helper()
	var all []chan error
	for _, id := range requestIDs {
		before, answer := len(g.seen())+s.attempts.Waiting(), make(chan error, 1)
		all = append(all, answer)
		go func() { answer <- s.RecordAttempt(ctx, attempt(id)) }()
		eventually(t, id+" is recorded", func() bool { return len(g.seen())+s.attempts.Waiting() == before+1 })
	}
	return all
}

// shared has five attempts recorded through a closed gate: two alone, and three
// that wait for them.
func (g *gate) shared(ctx context.Context, t *testing.T, s *Store) []chan error {
	t.Helper()
	return g.record(ctx, t, s, "alone-1", "alone-2", "third", "fourth", "fifth")
}

// eventually polls until ok, or fails the test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// wantStored checks which attempts are stored, by request id: each once.
func wantStored(t *testing.T, s *Store, want ...string) {
	t.Helper()
	all, err := s.LatestAttempts(t.Context(), "u", 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range all {
		got = append(got, a.RequestID)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("stored %q, want %q", got, want)
	}
}

// Attempts that find others on their way are one insert, and each is answered
// only when it is stored. Checked with one insert at a time, and with three.
func TestAttemptsShareAnInsert(t *testing.T) {
	g := newGate()
	s := open(t, Config{Monitor: g.monitor()})
	answers := g.shared(t.Context(), t, s)
	for i, answer := range answers {
		if len(answer) > 0 {
			t.Errorf("attempt %d is answered and not stored", i)
		}
	}
	close(g.open)
	for i, answer := range answers {
		if err := <-answer; err != nil {
			t.Errorf("attempt %d: %v", i, err)
		}
	}
	if got := fmt.Sprint(g.seen()); got != "[1 1 3]" {
		t.Errorf("attempts went together as %s, want [1 1 3]", got)
	}
	wantStored(t, s, "alone-1", "alone-2", "third", "fourth", "fifth")
}

// An insert of several whose answer was lost is repeated, and what the first
// one stored is what it stored. Checked without the second try, and by taking a
// duplicate for an error.
func TestLostAnswerOfASharedInsert(t *testing.T) {
	g := newGate()
	s, p := through(t, g.monitor())
	answers := g.shared(t.Context(), t, s)
	p.loseAnswer("insert\x00", "logins", "fourth")
	close(g.open)
	for i, answer := range answers {
		if err := <-answer; err != nil {
			t.Errorf("attempt %d: %v", i, err)
		}
	}
	if got := fmt.Sprint(g.seen()); !p.lost() || got != "[1 1 3 3]" {
		t.Errorf("answer lost: %t, attempts went together as %s, want [1 1 3 3]", p.lost(), got)
	}
	wantStored(t, s, "alone-1", "alone-2", "third", "fourth", "fifth")
}

// When the server cannot be reached every attempt on the way is told so, and
// the next ones are recorded when it is back.
func TestOutageOfASharedInsert(t *testing.T) {
	g := newGate()
	s, p := through(t, g.monitor())
	answers := g.shared(t.Context(), t, s)
	p.setDown(true)
	close(g.open)
	for i, answer := range answers {
		if err := <-answer; !outage.Is(err) {
			t.Errorf("attempt %d: %v, want an outage", i, err)
		}
	}
	p.setDown(false)
	if err := heal(t, func(ctx context.Context) error { return s.RecordAttempt(ctx, attempt("after")) }); err != nil {
		t.Fatal(err)
	}
	wantStored(t, s, "after")
}

// Each caller waits as long as its own context lets it, whether it waits for an
// insert or for the answer to one; the others' attempts are stored. Checked by
// giving a shared insert the first one's context.
func TestCallersOfASharedInsertLeave(t *testing.T) {
	g := newGate()
	s := open(t, Config{Monitor: g.monitor()})
	ctx := t.Context()
	canceled, cancel := context.WithCancel(ctx)
	first := g.record(ctx, t, s, "alone-1", "alone-2")
	late, stop := context.WithDeadline(ctx, time.Now().Add(-time.Second))
	defer stop()
	if err := s.RecordAttempt(late, attempt("late")); !outage.Is(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deadline while it waits: %v, want an outage", err)
	}
	leaver := g.record(canceled, t, s, "leaver")
	others := g.record(ctx, t, s, "fourth", "fifth")
	g.open <- struct{}{}
	eventually(t, "three are on their way", func() bool { return len(g.seen()) == 3 })
	cancel()
	if err := <-leaver[0]; !errors.Is(err, context.Canceled) || outage.Is(err) {
		t.Errorf("caller that has gone: %v, want context.Canceled and no outage", err)
	}
	close(g.open)
	for i, answer := range slices.Concat(first, others) {
		if err := <-answer; err != nil {
			t.Errorf("attempt %d: %v", i, err)
		}
	}
	wantStored(t, s, "alone-1", "alone-2", "leaver", "fourth", "fifth")
}

// A store is closed when what it was given is stored, also what waits; then it
// takes no more. Checked without the wait.
func TestCloseDuringASharedInsert(t *testing.T) {
	g := newGate()
	s := open(t, Config{Monitor: g.monitor()})
	answers := g.shared(t.Context(), t, s)
	closed := make(chan error)
	go func() { closed <- s.Close(t.Context()) }()
	close(g.open)
	for i, answer := range answers {
		if err := <-answer; err != nil {
			t.Errorf("attempt %d: %v", i, err)
		}
	}
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	if err := s.RecordAttempt(t.Context(), attempt("after")); !outage.Is(err) {
		t.Errorf("after close: %v, want an outage", err)
	}
}

// A store that is closed in a hurry leaves nobody waiting. Checked by waiting
// for the attempts whatever the context says.
func TestCloseInAHurry(t *testing.T) {
	g := newGate()
	s, p := through(t, g.monitor())
	answers := g.shared(t.Context(), t, s)
	p.setHung(true)
	close(g.open)
	hurry, cancel := context.WithCancel(t.Context())
	cancel()
	start := time.Now()
	_ = s.Close(hurry) // whether it says so or not
	if took := time.Since(start); took > time.Second {
		t.Errorf("close took %s", took)
	}
	for i, answer := range answers {
		if err := <-answer; !outage.Is(err) {
			t.Errorf("attempt %d: %v, want an outage", i, err)
		}
	}
	soon, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if s.attempts.Wait(soon); soon.Err() != nil {
		t.Error("an insert is still under way")
	}
}

// What is refused of several documents is no matter of the others. Checked by
// leaving out the inserts one by one, and by failing all for one.
func TestInsertEach(t *testing.T) {
	type doc = bson.D
	id := func(v any) doc { return doc{{Key: "_id", Value: v}} }
	for _, test := range []struct {
		name string
		bad  doc
		want func(err error) bool
	}{
		{"is there already", id("held"), func(err error) bool { return errors.Is(err, errExists) }},
		{"refused by the server", id(bson.A{1}), func(err error) bool {
			var refused mongo.WriteException
			return errors.As(err, &refused) && !outage.Is(err)
		}},
		{"cannot be sent", id(func() {}), func(err error) bool { return strings.Contains(fmt.Sprint(err), "no encoder") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, Config{})
			c := s.db.Collection("documents")
			if err := s.insert(t.Context(), c, id("held")); err != nil {
				t.Fatal(err)
			}
			alone := s.insert(t.Context(), c, test.bad)
			errs := insertEach(t.Context(), s, c, []doc{id("good"), test.bad, id("other")})
			if errs[0] != nil || errs[2] != nil || !test.want(errs[1]) || errs[1].Error() != alone.Error() {
				t.Errorf("%v, want an error of the second alone, which by itself gives %v", errs, alone)
			}
			n, err := c.CountDocuments(t.Context(), bson.D{})
			if err != nil || n != 3 {
				t.Errorf("%d documents (%v), want 3", n, err)
			}
		})
	}
}

// What a server of one's own does not answer: checked by looking at whether it
// is an outage before looking at whose, and by leaving out the write concern.
func TestEachInserted(t *testing.T) {
	refused := func(index, code int) mongo.BulkWriteError {
		return mongo.BulkWriteError{WriteError: mongo.WriteError{Index: index, Code: code}}
	}
	for _, test := range []struct {
		name string
		err  error
		want string // of three: . stored, = exists, o outage, x refused; empty: cannot tell
	}{
		{"stored", nil, "..."},
		{"one exists, one is refused", mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{refused(0, 11000), refused(2, 121)}}, "=.x"},
		{"one in conflict with another writer", mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{refused(1, 112)}}, ".o."},
		{"not durable", mongo.BulkWriteException{WriteConcernError: &mongo.WriteConcernError{Code: 79}}, "ooo"},
		{"one exists and none is durable", mongo.BulkWriteException{
			WriteConcernError: &mongo.WriteConcernError{Code: 79}, WriteErrors: []mongo.BulkWriteError{refused(0, 11000)},
		}, "ooo"},
		{"network", mongo.CommandError{Labels: []string{"NetworkError"}}, "ooo"},
		{"stepped down", mongo.CommandError{Code: 189}, "ooo"},
		{"canceled", context.Canceled, "xxx"},
		{"refused as a whole", mongo.CommandError{Code: 2}, ""},
		{"nothing said", mongo.BulkWriteException{}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, Config{})
			errs, ok := eachInserted(s.logins(), 3, test.err)
			var got string
			for _, err := range errs {
				switch {
				case err == nil:
					got += "."
				case errors.Is(err, errExists):
					got += "="
				case outage.Is(err):
					got += "o"
				default:
					got += "x"
				}
			}
			if got != test.want || ok != (test.want != "") {
				t.Errorf("%q, %t, want %q", got, ok, test.want)
			}
		})
	}
}
