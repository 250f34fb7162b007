package password

import (
	"context"
	"errors"
	"fmt"
	"sync"
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

// gate bounds how many hash at once. The others wait in one queue, first come,
// first served. It is as long as can be served within maxWait at the speed of
// the latest hashes; a request that would wait longer is rejected at once.
type gate struct {
	slots    chan struct{} // held while hashing
	maxWait  time.Duration
	now      func() time.Time
	observe  func(waited, took time.Duration)
	requests atomic.Int64 // that hold a place in the queue: before, between and in their hashes
	waiting  atomic.Int64 // for a slot
	cost     atomic.Int64 // nanoseconds of one hash, a moving average
}

func newGate(slots int, maxWait, cost time.Duration, now func() time.Time) *gate {
	g := &gate{slots: make(chan struct{}, slots), maxWait: maxWait, now: now, observe: func(time.Duration, time.Duration) {}}
	g.cost.Store(int64(max(cost, time.Microsecond)))
	return g
}

// deadlineKey is where a context holds the time by which its hashes must begin.
type deadlineKey struct{}

// enter takes a place in the queue, or returns a *BusyError at once when a hash
// would have to wait too long. All hashes made with the context it returns share
// one deadline. The caller releases the place after its last hash; releasing it
// again does nothing.
func (g *gate) enter(ctx context.Context) (queued context.Context, release func(), err error) {
	ahead := g.requests.Add(1) - int64(cap(g.slots))
	if expected := g.expect(ahead); expected > g.maxWait {
		g.requests.Add(-1)
		return ctx, nil, busy(expected)
	}
	queued = context.WithValue(ctx, deadlineKey{}, g.now().Add(g.maxWait))
	return queued, sync.OnceFunc(func() { g.requests.Add(-1) }), nil
}

// do runs work in a slot. It returns a *BusyError when none was free by the
// deadline, or the error of ctx when the caller went away; then work has not
// run. Without a place in the queue it takes one for this hash alone.
func (g *gate) do(ctx context.Context, work func()) error {
	deadline, ok := ctx.Value(deadlineKey{}).(time.Time)
	if !ok {
		queued, release, err := g.enter(ctx)
		if err != nil {
			return err
		}
		defer release()
		return g.do(queued, work)
	}
	came := g.now()
	if err := g.wait(ctx, deadline.Sub(came)); err != nil {
		return err
	}
	start := g.now()
	defer func() {
		took := g.now().Sub(start)
		g.learn(took)
		<-g.slots
		g.observe(start.Sub(came), took)
	}()
	work()
	return nil
}

// wait takes a slot within the time that is left. A channel wakes its senders in
// their order, so nobody jumps the queue.
func (g *gate) wait(ctx context.Context, left time.Duration) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait to hash: %w", err)
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	g.waiting.Add(1)
	defer g.waiting.Add(-1)
	timeout := time.NewTimer(left)
	defer timeout.Stop()
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait to hash: %w", ctx.Err())
	case <-timeout.C:
		return busy(g.expect(g.requests.Load()))
	}
}

// expect estimates how long the n-th in the queue waits.
func (g *gate) expect(n int64) time.Duration {
	return time.Duration(n * g.cost.Load() / int64(cap(g.slots)))
}

// learn moves the average cost a little towards the latest: the first hashes of
// a burst are slow, and must not close the queue for the rest of it. Two at once
// may lose one of the two, which an average can bear.
func (g *gate) learn(took time.Duration) {
	cost := g.cost.Load()
	g.cost.Store(max(cost+(int64(took)-cost)/32, int64(time.Microsecond)))
}

func busy(expected time.Duration) *BusyError {
	seconds := (expected + time.Second - 1) / time.Second
	return &BusyError{RetryAfter: max(seconds, 1) * time.Second}
}
