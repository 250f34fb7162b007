package password

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// ErrBusy is what every *BusyError is, for errors.Is.
var ErrBusy = errors.New("too many passwords are being hashed")

// BusyError says that the queue for hashing is full, and when to come back.
type BusyError struct {
	RetryAfter time.Duration // whole seconds, at least one
}

func (e *BusyError) Error() string { return fmt.Sprintf("%v, retry after %s", ErrBusy, e.RetryAfter) }

// Unwrap returns ErrBusy.
func (e *BusyError) Unwrap() error { return ErrBusy }

// gate lets so many run at once and so many wait, in the order they came, as
// can be served within maxWait at the speed of late.
type gate struct {
	places  chan struct{}
	maxWait time.Duration
	now     func() time.Time
	observe func(waited, took time.Duration)
	inside  atomic.Int64 // let in by admit
	waiting atomic.Int64
	cost    atomic.Int64 // nanoseconds of one run, a moving average
}

func newGate(places int, maxWait, cost time.Duration, now func() time.Time) *gate {
	g := &gate{places: make(chan struct{}, places), maxWait: maxWait, now: now, observe: func(time.Duration, time.Duration) {}}
	g.cost.Store(int64(max(cost, time.Microsecond)))
	return g
}

// admit lets in who will come to do later, as many as can be served in time, or
// returns a *BusyError. Whoever is in must leave, whether served or not.
func (g *gate) admit() (leave func(), err error) {
	leave = func() { g.inside.Add(-1) }
	ahead := g.inside.Add(1) - int64(cap(g.places))
	if expected := g.expect(ahead); expected > g.maxWait {
		leave()
		return nil, busy(expected)
	}
	return leave, nil
}

// do runs work in a place of the gate, or returns a *BusyError, or the error of
// ctx when the caller went away while waiting; then work has not run.
func (g *gate) do(ctx context.Context, work func()) error {
	came := g.now()
	if err := g.enter(ctx); err != nil {
		return err
	}
	start := g.now()
	defer func() {
		took := g.now().Sub(start)
		g.learn(took)
		<-g.places
		g.observe(start.Sub(came), took)
	}()
	work()
	return nil
}

// enter takes a place. A place that is given up goes to the first in the
// queue, as a channel wakes its senders in order: nobody can jump it.
func (g *gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait to hash: %w", err)
	}
	select {
	case g.places <- struct{}{}:
		return nil
	default:
	}
	ahead := g.waiting.Add(1)
	defer g.waiting.Add(-1)
	expected := g.expect(ahead)
	if expected > g.maxWait {
		return busy(expected)
	}
	timeout := time.NewTimer(g.maxWait)
	defer timeout.Stop()
	select {
	case g.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait to hash: %w", ctx.Err())
	case <-timeout.C:
		return busy(g.expect(g.waiting.Load()))
	}
}

// expect estimates how long the n-th in the queue waits.
func (g *gate) expect(n int64) time.Duration {
	return time.Duration(n * g.cost.Load() / int64(cap(g.places)))
}

// learn moves the average cost a little of the way to what was just seen: a
// burst of requests slows the hashes of its first moment down, and must not
// close the queue for all that come with it. Two at once may lose one of the
// two; an average does not mind.
func (g *gate) learn(took time.Duration) {
	cost := g.cost.Load()
	g.cost.Store(max(cost+(int64(took)-cost)/32, int64(time.Microsecond)))
}

func busy(expected time.Duration) *BusyError {
	seconds := (expected + time.Second - 1) / time.Second
	return &BusyError{RetryAfter: max(seconds, 1) * time.Second}
}
