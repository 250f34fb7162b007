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

// perPlace is how many are let in for each place in which one runs: what they do
// beside hashing, which is to ask the stores, may take this many times a hash
// before a place is empty while others wait.
const perPlace = 16

// gate lets so many run at once and so many wait, in the order they came, as
// can be served within maxWait at the speed of late. Most of those who wait do
// so in line: nothing was done for them yet, so they cost next to nothing.
type gate struct {
	places  chan struct{} // those who run
	room    chan struct{} // those who were let in by admit
	maxWait time.Duration
	now     func() time.Time
	observe func(waited, took time.Duration)
	came    atomic.Int64 // those who were let in or are in line
	inLine  atomic.Int64
	waiting atomic.Int64 // for a place
	cost    atomic.Int64 // nanoseconds of one run, a moving average
}

func newGate(places int, maxWait, cost time.Duration, now func() time.Time) *gate {
	g := &gate{
		places: make(chan struct{}, places), room: make(chan struct{}, perPlace*places),
		maxWait: maxWait, now: now, observe: func(time.Duration, time.Duration) {},
	}
	g.cost.Store(int64(max(cost, time.Microsecond)))
	return g
}

// full returns a *BusyError if whoever came now would be turned away by admit.
func (g *gate) full() error {
	return g.inTime(g.came.Load() + 1 - int64(cap(g.places)))
}

// admit waits in line to come in, or returns a *BusyError at once when that and
// what follows would take too long. Whoever is in must leave, whether served or
// not; to leave again does nothing. The context it returns is for do: all waiting
// together is bounded.
func (g *gate) admit(ctx context.Context) (in context.Context, leave func(), err error) {
	ahead := g.came.Add(1) - int64(cap(g.places))
	if err := g.inTime(ahead); err != nil {
		g.came.Add(-1)
		return ctx, nil, err
	}
	since := g.now()
	g.inLine.Add(1)
	err = g.wait(ctx, g.room, g.maxWait)
	g.inLine.Add(-1)
	if err != nil {
		g.came.Add(-1)
		return ctx, nil, err
	}
	w := &waited{}
	w.add(g.now().Sub(since))
	in = context.WithValue(ctx, waitedKey{}, w)
	return in, sync.OnceFunc(func() { <-g.room; g.came.Add(-1) }), nil
}

// waited is how long a request has waited, in line and for each of its runs.
type waited struct {
	all    atomic.Int64 // nanoseconds
	untold atomic.Int64 // of these, what observe was not told of
}

type waitedKey struct{}

func (w *waited) add(d time.Duration) {
	w.all.Add(int64(d))
	w.untold.Add(int64(d))
}

// waitedOf is what the request of ctx has waited; nothing yet for one that was
// not admitted.
func waitedOf(ctx context.Context) *waited {
	if w, ok := ctx.Value(waitedKey{}).(*waited); ok {
		return w
	}
	return &waited{}
}

// do runs work in a place of the gate, or returns a *BusyError, or the error of
// ctx when the caller went away while waiting; then work has not run.
func (g *gate) do(ctx context.Context, work func()) error {
	w, came := waitedOf(ctx), g.now()
	err := g.enter(ctx, g.maxWait-time.Duration(w.all.Load()))
	start := g.now()
	w.add(start.Sub(came))
	if err != nil {
		return err
	}
	defer func() {
		took := g.now().Sub(start)
		g.learn(took)
		<-g.places
		g.observe(time.Duration(w.untold.Swap(0)), took)
	}()
	work()
	return nil
}

// enter takes a place, within the time that is left.
func (g *gate) enter(ctx context.Context, left time.Duration) error {
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
	if err := g.inTime(ahead); err != nil {
		return err
	}
	return g.wait(ctx, g.places, left)
}

// wait waits until there is room in what bounds how many. Room that is given up
// goes to the first who waits, as a channel wakes its senders in order: nobody
// can jump the queue.
func (g *gate) wait(ctx context.Context, room chan<- struct{}, left time.Duration) error {
	timeout := time.NewTimer(left)
	defer timeout.Stop()
	select {
	case room <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait to hash: %w", ctx.Err())
	case <-timeout.C:
		return busy(g.expect(g.came.Load()))
	}
}

// inTime returns a *BusyError if the n-th in the queue would wait too long.
func (g *gate) inTime(n int64) error {
	if expected := g.expect(n); expected > g.maxWait {
		return busy(expected)
	}
	return nil
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
