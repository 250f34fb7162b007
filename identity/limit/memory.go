package limit

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// errNoRedis: the limits are kept in memory alone.
var errNoRedis = errors.New("limit: no redis is configured")

// numbers reads a script's answer: one number, or a list of them.
func numbers(raw any) ([]int64, error) {
	list, ok := raw.([]any)
	if !ok {
		list = []any{raw}
	}
	out := make([]int64, len(list))
	for i, v := range list {
		if out[i], ok = v.(int64); !ok {
			return nil, fmt.Errorf("limit: script answered %T", v)
		}
	}
	return out, nil
}

// memory keeps the limits of one process, in two generations of maps: when the
// younger is full, the older is dropped. So what was used last stays, the size
// is bounded, and nothing has to be searched.
type memory struct {
	mu         sync.Mutex
	size       int // of a generation
	young, old map[string]time.Time
}

func newMemory(size int) *memory {
	return &memory{size: max(size/2, 1), young: map[string]time.Time{}}
}

func (m *memory) get(key string) time.Time {
	if at, ok := m.young[key]; ok {
		return at
	}
	return m.old[key]
}

func (m *memory) put(key string, at time.Time) {
	if _, held := m.young[key]; !held && len(m.young) >= m.size {
		m.old, m.young = m.young, map[string]time.Time{}
	}
	m.young[key] = at
}

// take is take.lua.
func (m *memory) take(a attempt, now time.Time) decision {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := decision{known: a.known != "" && m.get(a.known+a.member).After(now)}
	free := make([]time.Time, len(a.limits))
	for i, one := range a.limits {
		if one.spare && d.known {
			continue
		}
		free[i] = now
		if held := m.get(one.key); held.After(now) {
			free[i] = held
		}
		if most := now.Add(one.rate.debt()); free[i].After(most) { // the clock was set back
			free[i] = most
		}
		free[i] = free[i].Add(one.rate.Every)
		early := free[i].Sub(now) - one.rate.debt()
		if early > d.wait {
			d.refused, d.wait = one.kind, early
		}
	}
	if d.refused == "" {
		for i, one := range a.limits {
			if !free[i].IsZero() {
				m.put(one.key, free[i])
			}
		}
	}
	return d
}

// giveBack is the first half of settle.lua.
func (m *memory) giveBack(taken []limit, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range taken {
		if held := m.get(one.key); held.After(now) {
			m.put(one.key, held.Add(-one.rate.Every))
		}
	}
}

// remember is the second half of settle.lua. It is done while Redis answers
// too, so that owners are known when it does not.
func (m *memory) remember(n names, now time.Time) {
	if n.known == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(n.known+n.member, now.Add(knownFor))
}
