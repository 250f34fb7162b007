package redisdb_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/redisdb"
)

var errDown = errors.New("down")

// breaker is a Breaker whose clock stands still, and what it reported.
type breaker struct {
	redisdb.Breaker
	now     time.Time
	changes []error
}

func newBreaker() *breaker {
	b := &breaker{now: time.Unix(1_800_000_000, 0)}
	b.Now = func() time.Time { return b.now }
	b.Changed = func(_ context.Context, err error) { b.changes = append(b.changes, err) }
	return b
}

func answers(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

// Checked by a rest of zero, and by Changed at every failure.
func TestBreaker(t *testing.T) {
	b := newBreaker()
	for i, step := range []struct {
		after  time.Duration
		answer error
		want   error
	}{
		{0, nil, nil},
		{0, errDown, errDown},
		{time.Second - 1, nil, redisdb.ErrResting},
		{1, errDown, errDown}, // the probe
		{0, nil, redisdb.ErrResting},
		{time.Second, nil, nil},
		{0, nil, nil},
	} {
		b.now = b.now.Add(step.after)
		if err := b.Do(t.Context(), time.Minute, answers(step.answer)); !errors.Is(err, step.want) {
			t.Errorf("step %d: %v, want %v", i, err, step.want)
		}
	}
	if len(b.changes) != 2 || !errors.Is(b.changes[0], errDown) || b.changes[1] != nil {
		t.Errorf("changes %v, want that it failed, and that it is back", b.changes)
	}
}

func TestBreakerBoundsCalls(t *testing.T) {
	b := newBreaker()
	left := func() time.Duration {
		var d time.Duration
		_ = b.Do(t.Context(), time.Minute, func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			d = time.Until(deadline)
			return errDown
		})
		return d
	}
	if d := left(); d < 50*time.Second {
		t.Errorf("a call may take %s, want a minute", d)
	}
	b.now = b.now.Add(time.Second)
	if d := left(); d > 50*time.Millisecond {
		t.Errorf("a probe may take %s, want 50 ms", d)
	}
	b.now, b.Probe = b.now.Add(time.Second), 10*time.Second
	if d := left(); d < 9*time.Second || d > 10*time.Second {
		t.Errorf("a probe may take %s, want 10 s", d)
	}
}

// A caller that leaves says nothing about Redis, and its probe is the next
// caller's to make. Checked by counting it as a failure.
func TestBreakerCallerLeaves(t *testing.T) {
	b := newBreaker()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, want := range []error{nil, nil} {
		if err := b.Do(gone, time.Minute, answers(errDown)); !errors.Is(err, errDown) {
			t.Fatal(err)
		}
		if err := b.Do(t.Context(), time.Minute, answers(nil)); !errors.Is(err, want) {
			t.Errorf("after a caller left: %v", err)
		}
	}
	_ = b.Do(t.Context(), time.Minute, answers(errDown))
	b.now = b.now.Add(time.Second)
	_ = b.Do(gone, time.Minute, answers(errDown))
	if err := b.Do(t.Context(), time.Minute, answers(nil)); err != nil {
		t.Errorf("after a caller left its probe: %v", err)
	}
}

// Of many at once one probes. Checked by leaving out probing.
func TestBreakerProbesOnce(t *testing.T) {
	b := newBreaker()
	_ = b.Do(t.Context(), time.Minute, answers(errDown))
	b.now = b.now.Add(time.Second)
	var calls, resting atomic.Int64
	release := make(chan struct{})
	var all sync.WaitGroup
	const callers = 50
	for range callers {
		all.Go(func() {
			err := b.Do(t.Context(), time.Minute, func(context.Context) error {
				calls.Add(1)
				<-release
				return nil
			})
			if errors.Is(err, redisdb.ErrResting) && resting.Add(1) == callers-1 {
				close(release)
			}
		})
	}
	all.Wait()
	if calls.Load() != 1 {
		t.Errorf("%d of %d probed, want 1", calls.Load(), callers)
	}
}
