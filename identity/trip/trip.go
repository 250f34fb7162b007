// Package trip lets calls to a server that are made while others are on their
// way go there together: with many at once, the way costs more than what is
// asked for. A call that finds few others goes at once and alone.
package trip

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// ErrPanic is what the calls of a trip get that ended in a panic.
var ErrPanic = errors.New("panic on the way")

// Config configures a Line. All but Log is required.
type Config[C, A any] struct {
	// Make makes a trip, and returns an answer to each of the calls, in their order.
	// A call that did not wait for others has its caller's context. Any other trip
	// has until the last deadline of its callers, goes on when one of them leaves,
	// and has the values of the first one's context.
	Make func(ctx context.Context, calls []C) []A
	// AtOnce is how many trips are under way at the same time before calls wait.
	AtOnce int
	// Most bounds how many calls go together.
	Most int
	// Timeout is the deadline of those callers on a shared trip that have none.
	Timeout time.Duration
	Log     *slog.Logger // nil: slog.Default(); is told of panics
}

// Line takes calls to a server. It is safe for concurrent use.
type Line[C, A any] struct {
	cfg Config[C, A]

	mu       sync.Mutex
	underWay int
	waiting  []*waiter[C, A]
	idle     chan struct{} // closed when nothing is under way any more; nil: nobody asked
}

// waiter is a call that is not answered yet.
type waiter[C, A any] struct {
	ctx    context.Context // of who waits for the answer
	call   C
	answer chan answer[A] // takes one without a reader
}

type answer[A any] struct {
	of  A
	err error
}

// NewLine returns a Line.
func NewLine[C, A any](cfg Config[C, A]) *Line[C, A] {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Line[C, A]{cfg: cfg}
}

// Go makes a call and returns its answer. The error is ErrPanic or, when ctx
// ends before there is an answer, that of ctx: the call may be made nevertheless.
func (l *Line[C, A]) Go(ctx context.Context, call C) (A, error) {
	w := &waiter[C, A]{ctx: ctx, call: call, answer: make(chan answer[A], 1)}
	if l.start(w) {
		l.carry(ctx, []*waiter[C, A]{w})
	}
	select {
	case a := <-w.answer:
		return a.of, a.err
	case <-ctx.Done():
	}
	select {
	case a := <-w.answer: // came in time
		return a.of, a.err
	default:
		var none A
		return none, ctx.Err()
	}
}

// Waiting is how many calls wait for a trip.
func (l *Line[C, A]) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// Wait returns when no call is under way any more, or ctx ends.
func (l *Line[C, A]) Wait(ctx context.Context) {
	select {
	case <-l.whenIdle():
	case <-ctx.Done():
	}
}

func (l *Line[C, A]) whenIdle() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.idle == nil {
		l.idle = make(chan struct{})
	}
	idle := l.idle
	l.tellIdle()
	return idle
}

// tellIdle tells who waits for it that nothing is under way. The lock is held.
func (l *Line[C, A]) tellIdle() {
	if l.underWay == 0 && l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

// start reports whether this call may go at once; else it waits for the next trip.
func (l *Line[C, A]) start(w *waiter[C, A]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.underWay < l.cfg.AtOnce {
		l.underWay++
		return true
	}
	l.waiting = append(l.waiting, w)
	return false
}

// next returns who goes on the trip that follows one that has come back. When
// nobody waits it is empty, and there is one trip less.
func (l *Line[C, A]) next() []*waiter[C, A] {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = slices.DeleteFunc(l.waiting, (*waiter[C, A]).gone)
	n := min(len(l.waiting), l.cfg.Most)
	group := slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	if n == 0 {
		l.underWay--
		l.tellIdle()
	}
	return group
}

func (w *waiter[C, A]) gone() bool { return w.ctx.Err() != nil }

// carry makes a trip before the context ends, and then, on their own, those for
// whoever has come to wait meanwhile.
func (l *Line[C, A]) carry(ctx context.Context, group []*waiter[C, A]) {
	l.serve(ctx, group)
	group = l.next()
	if len(group) == 0 {
		return
	}
	go func() {
		for ; len(group) > 0; group = l.next() {
			l.share(group[0].ctx, group)
		}
	}()
}

// share makes a trip that no single caller ends.
func (l *Line[C, A]) share(ctx context.Context, group []*waiter[C, A]) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), l.deadline(group))
	defer cancel()
	l.serve(ctx, group)
}

// deadline is when the last of a group has given up.
func (l *Line[C, A]) deadline(group []*waiter[C, A]) time.Time {
	var last time.Time
	for _, w := range group {
		until, ok := w.ctx.Deadline()
		if !ok {
			until = time.Now().Add(l.cfg.Timeout)
		}
		if until.After(last) {
			last = until
		}
	}
	return last
}

// serve makes one trip. A panic on it is the end of neither the line nor, in a
// goroutine of its own, the process.
func (l *Line[C, A]) serve(ctx context.Context, group []*waiter[C, A]) {
	calls := make([]C, len(group))
	for i, w := range group {
		calls[i] = w.call
	}
	answers := slices.Repeat([]answer[A]{{err: ErrPanic}}, len(group))
	defer func() {
		if p := recover(); p != nil {
			l.cfg.Log.ErrorContext(ctx, "calls panicked", "calls", len(group), "panic", p, "stack", string(debug.Stack()))
		}
		for i, w := range group {
			w.answer <- answers[i]
		}
	}()
	for i, a := range l.cfg.Make(ctx, calls) {
		answers[i] = answer[A]{of: a}
	}
}
