// Package revocationtest holds the suite that every revocation.Store passes,
// and a store in memory for tests of what is built on one.
package revocationtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"maps"
	"sync"
	"time"

	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/unavailable"
)

var _ revocation.Store = (*Memory)(nil)

// Memory is a revocation.Store in memory. Down makes it fail like a store that
// cannot be reached.
type Memory struct {
	mu   sync.Mutex
	down bool
	held map[string]revocation.Revocation

	origin string
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{held: map[string]revocation.Revocation{}, origin: rand.Text()}
}

// Origin implements revocation.Store, also while the store is down: a process
// that has asked once remembers it.
func (m *Memory) Origin(context.Context) (string, error) { return m.origin, nil }

// Down makes every method fail with an *unavailable.Error, or work again.
func (m *Memory) Down(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
}

// Len returns how many revocations are held.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.held)
}

func (m *Memory) lock(ctx context.Context, op string) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	m.mu.Lock()
	if m.down {
		m.mu.Unlock()
		return nil, unavailable.New("mongodb", op, errors.New("switched off by the test"))
	}
	return m.mu.Unlock, nil
}

// AddRevocation implements revocation.Store.
func (m *Memory) AddRevocation(ctx context.Context, r revocation.Revocation) error {
	unlock, err := m.lock(ctx, "add revocation")
	if err != nil {
		return err
	}
	defer unlock()
	if _, ok := m.held[r.ID()]; ok {
		return revocation.ErrExists
	}
	m.held[r.ID()] = r
	return nil
}

// Revocations implements revocation.Store.
func (m *Memory) Revocations(ctx context.Context, since, now time.Time) iter.Seq2[revocation.Revocation, error] {
	return func(yield func(revocation.Revocation, error) bool) {
		unlock, err := m.lock(ctx, "read revocations")
		if err != nil {
			yield(revocation.Revocation{}, err)
			return
		}
		all := maps.Clone(m.held)
		unlock()
		for _, r := range all {
			if !r.At.Before(since) && r.Until.After(now) && !yield(r, nil) {
				return
			}
		}
	}
}

// PruneRevocations implements revocation.Store.
func (m *Memory) PruneRevocations(ctx context.Context, now time.Time) error {
	unlock, err := m.lock(ctx, "prune revocations")
	if err != nil {
		return err
	}
	defer unlock()
	maps.DeleteFunc(m.held, func(_ string, r revocation.Revocation) bool { return !r.Until.After(now) })
	return nil
}
