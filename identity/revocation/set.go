package revocation

import (
	"maps"
	"sync"
	"time"
)

// set is what is known to be revoked. It only ever learns, and forgets what
// can no longer matter.
type set struct {
	mu          sync.RWMutex
	tokens      map[string]mark
	generations map[string]generation
}

// mark is what is remembered of an entry. Milliseconds, not time.Time: there
// may be many.
type mark struct {
	until int64  // Unix milliseconds
	heard uint64 // the load of the stream it was last seen in; 0: never
}

type generation struct {
	mark
	least int64 // the smallest that is not dead
}

func newSet() *set {
	return &set{tokens: map[string]mark{}, generations: map[string]generation{}}
}

func (s *set) revoked(jti, userID string, gen int64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if g, ok := s.generations[userID]; ok && gen < g.least {
		return true
	}
	_, ok := s.tokens[jti]
	return ok
}

func (s *set) generation(userID string) int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.generations[userID].least
}

// add learns r. heard is the load of the stream it came with, 0 when it came
// another way.
func (s *set) add(r Revocation, heard uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	until := r.Until.UnixMilli()
	if r.TokenID != "" {
		old := s.tokens[r.TokenID]
		s.tokens[r.TokenID] = mark{until: max(until, old.until), heard: max(heard, old.heard)}
		return
	}
	g := s.generations[r.UserID]
	if r.Generation > g.least {
		g = generation{least: r.Generation, mark: mark{until: g.until}}
	}
	if r.Generation == g.least {
		g.heard = max(heard, g.heard)
	}
	g.until = max(until, g.until)
	s.generations[r.UserID] = g
}

// heard reports whether r, or what makes it needless, came with this load of
// the stream. Load 0 is before the first: nothing came.
func (s *set) heard(r Revocation, load uint64) bool {
	if load == 0 {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if r.TokenID != "" {
		return s.tokens[r.TokenID].heard >= load
	}
	g := s.generations[r.UserID]
	return g.least >= r.Generation && g.heard >= load
}

// prune forgets what cannot matter at a time any more.
func (s *set) prune(now time.Time) {
	ms := now.UnixMilli()
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.tokens, func(_ string, m mark) bool { return m.until <= ms })
	maps.DeleteFunc(s.generations, func(_ string, g generation) bool { return g.until <= ms })
}

func (s *set) size() (tokens, generations int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.tokens), len(s.generations)
}
