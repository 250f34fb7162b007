package revocation

import (
	"maps"
	"sync"
	"time"
)

// set is the set of known revocations. It only grows, except that it drops those of
// tokens that have expired.
type set struct {
	mu          sync.RWMutex
	tokens      map[string]mark
	generations map[string]generation
}

// mark is what is remembered of an entry. Milliseconds, not time.Time: there
// may be many.
type mark struct {
	until int64  // Unix milliseconds
	heard uint64 // the reading of the stream that it was last seen in; 0: never
	sent  uint64 // the reading of the stream during which this process last added it there; 0: never
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

// add adds r. heard is the reading of the stream that brought it, and sent the
// reading during which this process added it to the stream; 0: none.
func (s *set) add(r Revocation, heard, sent uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	added := mark{until: r.Until.UnixMilli(), heard: heard, sent: sent}
	if r.TokenID != "" {
		s.tokens[r.TokenID] = s.tokens[r.TokenID].and(added)
		return
	}
	g := s.generations[r.UserID]
	switch {
	case r.Generation > g.least:
		added.until = max(added.until, g.until)
		g = generation{least: r.Generation, mark: added}
	case r.Generation == g.least:
		g.mark = g.and(added)
	default:
		g.until = max(g.until, added.until)
	}
	s.generations[r.UserID] = g
}

// and returns the later of each.
func (m mark) and(n mark) mark {
	return mark{until: max(m.until, n.until), heard: max(m.heard, n.heard), sent: max(m.sent, n.sent)}
}

// heard reports whether this reading of the stream brought r, or a revocation that
// includes it. Reading 0 is before the first: it brought nothing.
func (s *set) heard(r Revocation, load uint64) bool {
	m, ok := s.mark(r)
	return ok && load > 0 && m.heard >= load
}

// announced reports the same, or that this process added it during the reading.
func (s *set) announced(r Revocation, load uint64) bool {
	m, ok := s.mark(r)
	return ok && load > 0 && max(m.heard, m.sent) >= load
}

// mark returns what is remembered of r, or of a revocation that includes it.
func (s *set) mark(r Revocation) (m mark, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if r.TokenID != "" {
		m, ok = s.tokens[r.TokenID]
		return m, ok
	}
	g, ok := s.generations[r.UserID]
	return g.mark, ok && g.least >= r.Generation
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
