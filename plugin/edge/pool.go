package edge

import (
	"context"
	"sync"
)

// Pool shares values that are costly to build or hold connections between the
// plugin configurations of a process. A value's key holds everything it depends on.
// So a changed configuration reuses what the previous one built, and a value without
// users is closed.
type Pool[K comparable, V any] struct {
	ctx  context.Context // the process's
	open func(ctx context.Context, key K) (V, error)

	mu    sync.Mutex
	items map[K]*item[V]
}

// NewPool returns an empty pool. open builds the value of a key; its context
// ends when the last user has released the value, and with ctx.
func NewPool[K comparable, V any](ctx context.Context, open func(ctx context.Context, key K) (V, error)) *Pool[K, V] {
	return &Pool[K, V]{ctx: ctx, open: open, items: map[K]*item[V]{}}
}

type item[V any] struct {
	value  V
	users  int
	cancel context.CancelFunc
}

// Acquire returns the value of key, building it when there is none. The
// caller calls release when it needs the value no more.
func (p *Pool[K, V]) Acquire(key K) (value V, release func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	it, ok := p.items[key]
	if !ok {
		if it, err = p.build(key); err != nil {
			return value, nil, err
		}
	}
	it.users++
	return it.value, sync.OnceFunc(func() { p.release(key, it) }), nil
}

// build is called with the lock held.
func (p *Pool[K, V]) build(key K) (*item[V], error) {
	own, cancel := context.WithCancel(p.ctx)
	value, err := p.open(own, key)
	if err != nil {
		cancel()
		return nil, err
	}
	it := &item[V]{value: value, cancel: cancel}
	p.items[key] = it
	return it, nil
}

func (p *Pool[K, V]) release(key K, it *item[V]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if it.users--; it.users == 0 {
		delete(p.items, key)
		it.cancel()
	}
}

// Values are the values that are in use.
func (p *Pool[K, V]) Values() []V {
	p.mu.Lock()
	defer p.mu.Unlock()
	values := make([]V, 0, len(p.items))
	for _, it := range p.items {
		values = append(values, it.value)
	}
	return values
}
