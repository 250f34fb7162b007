package revocationtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// Run tests the stores that newStore returns, which must be empty.
func Run(t *testing.T, newStore func(t *testing.T) revocation.Store) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s revocation.Store)
	}{
		{"the origin never changes", testOrigin},
		{"what was added is found whole", testAdd},
		{"an id is added once", testOnce},
		{"many at once with one id", testRace},
		{"since a time", testSince},
		{"what is over is neither found nor kept", testPrune},
		{"reader that stops early", testStop},
		{"caller that has gone", testCancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newStore(t)) })
	}
}

// noon is when the tests take place. A server may delete by its own clock what
// is over, so nothing that a test wants to find is over by that.
var noon = time.Now().UTC().Truncate(time.Second)

func token(id string) revocation.Revocation {
	return revocation.Revocation{TokenID: id, At: noon.Add(time.Millisecond), Until: noon.Add(time.Hour)}
}

func generation(user string, n int64) revocation.Revocation {
	return revocation.Revocation{UserID: user, Generation: n, At: noon, Until: noon.Add(time.Hour)}
}

func add(t *testing.T, s revocation.Store, all ...revocation.Revocation) {
	t.Helper()
	for _, r := range all {
		if err := s.AddRevocation(t.Context(), r); err != nil {
			t.Fatalf("add %s: %v", r.ID(), err)
		}
	}
}

// want checks that the store yields exactly these.
func want(t *testing.T, s revocation.Store, since, now time.Time, all ...revocation.Revocation) {
	t.Helper()
	expected := map[string]revocation.Revocation{}
	for _, r := range all {
		expected[r.ID()] = r
	}
	got := map[string]revocation.Revocation{}
	for r, err := range s.Revocations(t.Context(), since, now) {
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := got[r.ID()]; twice {
			t.Errorf("%s came twice", r.ID())
		}
		got[r.ID()] = r
	}
	if !maps.Equal(got, expected) {
		t.Errorf("revocations = %+v, want %+v", got, expected)
	}
}

func testOrigin(t *testing.T, s revocation.Store) {
	first, err := s.Origin(t.Context())
	if err != nil || first == "" {
		t.Fatalf("origin %q, %v", first, err)
	}
	if again, err := s.Origin(t.Context()); again != first || err != nil {
		t.Errorf("origin %q, %v; want %q", again, err, first)
	}
}

func testAdd(t *testing.T, s revocation.Store) {
	want(t, s, time.Time{}, noon)
	all := []revocation.Revocation{token("ABC"), generation("alice", 1), generation("alice", 1<<40), generation("bob", 1)}
	add(t, s, all...)
	want(t, s, time.Time{}, noon, all...)
}

func testOnce(t *testing.T, s revocation.Store) {
	for _, r := range []revocation.Revocation{token("ABC"), generation("alice", 7)} {
		add(t, s, r)
		if err := s.AddRevocation(t.Context(), r); !errors.Is(err, revocation.ErrExists) {
			t.Errorf("add %s again: %v, want ErrExists", r.ID(), err)
		}
	}
	want(t, s, time.Time{}, noon, token("ABC"), generation("alice", 7))
}

func testRace(t *testing.T, s revocation.Store) {
	const callers = 16
	errs := make([]error, callers)
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range callers {
		done.Go(func() {
			start.Wait()
			errs[i] = s.AddRevocation(t.Context(), generation("alice", 1))
		})
	}
	start.Done()
	done.Wait()
	won := 0
	for i, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, revocation.ErrExists) {
			t.Errorf("caller %d: %v, want ErrExists", i, err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d succeeded, want 1", won, callers)
	}
}

func testSince(t *testing.T, s revocation.Store) {
	var all []revocation.Revocation
	for i := range 5 {
		r := token(fmt.Sprintf("T%d", i))
		r.At = noon.Add(time.Duration(i) * time.Minute)
		all = append(all, r)
	}
	add(t, s, all...)
	want(t, s, noon.Add(2*time.Minute), noon, all[2:]...)
	want(t, s, noon.Add(4*time.Minute+time.Millisecond), noon)
}

func testPrune(t *testing.T, s revocation.Store) {
	short, long := token("SHORT"), token("LONG")
	short.Until = noon.Add(30 * time.Minute)
	add(t, s, short, long)
	want(t, s, time.Time{}, short.Until.Add(-time.Millisecond), short, long)
	want(t, s, time.Time{}, short.Until, long)
	if err := s.PruneRevocations(t.Context(), short.Until); err != nil {
		t.Fatal(err)
	}
	want(t, s, time.Time{}, noon, long)
	add(t, s, short) // it is gone, so its id is free
}

func testStop(t *testing.T, s revocation.Store) {
	add(t, s, token("A"), token("B"), token("C"))
	var seen []string
	for r, err := range s.Revocations(t.Context(), time.Time{}, noon) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, r.ID())
		break
	}
	if len(seen) != 1 {
		t.Errorf("saw %s after stopping at the first", slices.Sorted(slices.Values(seen)))
	}
	want(t, s, time.Time{}, noon, token("A"), token("B"), token("C"))
}

func testCancelled(t *testing.T, s revocation.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var readErr error
	for _, err := range s.Revocations(ctx, time.Time{}, noon) {
		readErr = err
	}
	for op, err := range map[string]error{
		"add":   s.AddRevocation(ctx, token("A")),
		"read":  readErr,
		"prune": s.PruneRevocations(ctx, noon),
	} {
		if !errors.Is(err, context.Canceled) || unavailable.Is(err) {
			t.Errorf("%s for a caller that has gone: %v, want context.Canceled and no outage", op, err)
		}
	}
}
