package redisdb

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// restFor is how long a server that failed is left alone.
	restFor = time.Second
	// probeLimit is the default timeout of the probe that follows: a request waits for
	// it, and it will probably fail.
	probeLimit = 50 * time.Millisecond
)

// ErrResting means that Redis failed less than a second ago, or that another
// call is probing it, so this one was not made.
var ErrResting = errors.New("redis failed a moment ago and is left alone")

// Breaker leaves Redis alone for a second after a call failed, then lets one
// call at a time probe it, until one succeeds. So while Redis
// hangs, one call in a second pays for finding out, not each. The zero value is
// ready to use; it is safe for concurrent use and must not be copied.
type Breaker struct {
	Now func() time.Time // nil: time.Now
	// Probe is how long a probe may take at most, if the limit of its call is not
	// less; 0: 50 ms. A Redis that steadily takes longer stays left alone.
	Probe time.Duration
	// Changed is called when calls begin to fail, with the error of the first,
	// and with nil when one succeeds again. nil: it is not called.
	Changed func(ctx context.Context, err error)

	mu      sync.Mutex
	open    bool
	until   time.Time // open: no probe before
	probing bool
}

// Do makes the call with a context that ends after limit, or fails with
// ErrResting. Any error of the call counts as a failure of Redis, unless ctx
// itself has ended: a caller that left says nothing about Redis.
func (b *Breaker) Do(ctx context.Context, limit time.Duration, call func(context.Context) error) error {
	probe, ok := b.enter()
	if !ok {
		return ErrResting
	}
	if probe {
		defer b.endProbe() // after a panic too
		limit = min(limit, cmp.Or(b.Probe, probeLimit))
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := call(bounded)
	if err != nil && ctx.Err() != nil {
		return err
	}
	if b.leave(err) && b.Changed != nil {
		b.Changed(ctx, err)
	}
	return err
}

func (b *Breaker) now() time.Time {
	if b.Now != nil {
		return b.Now()
	}
	return time.Now()
}

func (b *Breaker) enter() (probe, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return false, true
	}
	if b.probing || b.now().Before(b.until) {
		return false, false
	}
	b.probing = true
	return true, true
}

func (b *Breaker) endProbe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
}

func (b *Breaker) leave(err error) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed = b.open != (err != nil)
	b.open = err != nil
	if b.open {
		b.until = b.now().Add(restFor)
	}
	return changed
}
