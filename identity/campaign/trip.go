package campaign

import (
	"context"
	"runtime/debug"
	"slices"
	"sync"
)

const (
	// tripsAtOnce is how many trips to Redis a claimer makes at the same time. A
	// connection that has died delays those on it and nobody else; and while one
	// trip is answered, others are on their way.
	tripsAtOnce = 4
	// claimsPerTrip bounds how long one trip keeps redis-server from others.
	claimsPerTrip = 128
)

// waiter is a claim that is not answered yet.
type waiter struct {
	left   <-chan struct{} // closed when nobody waits for the answer any more
	userID string
	answer chan Outcome // takes one without a reader
}

// trips lets claims that are made while others are on their way to Redis go
// there together, in the order they were made: with many logins at once, reading and
// writing sockets costs redis-server more than the claims themselves. A claim that
// finds no other goes at once and alone.
type trips struct {
	mu       sync.Mutex
	underWay int
	waiting  []*waiter
}

// start reports whether this claim may go at once; else it waits for the next trip.
func (t *trips) start(w *waiter) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.underWay < tripsAtOnce {
		t.underWay++
		return true
	}
	t.waiting = append(t.waiting, w)
	return false
}

// next returns who goes on the trip that follows one that has come back. When
// nobody waits it is empty, and there is one trip less.
func (t *trips) next() []*waiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = slices.DeleteFunc(t.waiting, (*waiter).gone)
	n := min(len(t.waiting), claimsPerTrip)
	group := slices.Clone(t.waiting[:n])
	t.waiting = slices.Delete(t.waiting, 0, n)
	if n == 0 {
		t.underWay--
	}
	return group
}

func (w *waiter) gone() bool {
	select {
	case <-w.left:
		return true
	default:
		return false
	}
}

// carry answers a group before the context ends, and then, on its own, whoever
// has come to wait meanwhile.
func (c *Claimer) carry(ctx context.Context, group []*waiter) {
	c.serve(ctx, group)
	group = c.trips.next()
	if len(group) == 0 {
		return
	}
	go func() {
		for ; len(group) > 0; group = c.trips.next() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.Timeout)
			c.serve(ctx, group)
			cancel()
		}
	}()
}

// serve makes one trip. A panic on it is the end of neither the trips nor, in a
// goroutine of its own, the process: its claims are pending.
func (c *Claimer) serve(ctx context.Context, group []*waiter) {
	users := make([]string, len(group))
	for i, w := range group {
		users[i] = w.userID
	}
	answers := pending(len(users))
	defer func() {
		if p := recover(); p != nil {
			c.cfg.Log.ErrorContext(ctx, "claims panicked and are pending", "panic", p, "stack", string(debug.Stack()))
		}
		for i, w := range group {
			w.answer <- answers[i]
		}
	}()
	var err error
	if answers, err = c.claim(ctx, users); err != nil {
		c.cfg.Log.DebugContext(ctx, "claims are pending", "claims", len(group), "err", err)
	}
}
