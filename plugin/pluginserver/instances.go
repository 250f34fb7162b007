package pluginserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// forgetAfter is how long an instance without an event is kept. Kong does not
// close the instances of a worker that died or of a plugin taken out of
// kong.yml; one forgotten too early is simply started again.
const forgetAfter = time.Hour

// running is an instance that Kong may send events for.
type running struct {
	Instance
	id       int32
	started  time.Time
	lastUsed atomic.Int64 // nanoseconds since 1970
	users    atomic.Int64 // the handlers that run, and one for being known
}

// done ends one use of the instance; the last one closes it.
func (r *running) done() {
	if r.users.Add(-1) == 0 {
		r.Close()
	}
}

// instances are the running instances by the number Kong calls them by.
type instances struct {
	start StartFunc
	now   func() time.Time

	mu   sync.RWMutex
	byID map[int32]*running
	last int32 // the number given last
}

func newInstances(start StartFunc, now func() time.Time) *instances {
	return &instances{start: start, now: now, byID: map[int32]*running{}}
}

// use finds an instance for a handler, which must call done.
func (s *instances) use(id int32) (*running, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.byID[id]
	if ok {
		r.users.Add(1)
	}
	return r, ok
}

func (s *instances) count() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.byID)
}

// open starts an instance. Each of Kong's workers has one of its own for each
// configuration, and closes it by the number that open gives it.
func (s *instances) open(ctx context.Context, config []byte) (*running, error) {
	s.forgetIdle()
	instance, err := s.start(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("start instance: %w", err)
	}
	if instance == nil {
		return nil, errors.New("start instance: the plugin returned none")
	}
	r := &running{Instance: instance, started: s.now()}
	r.lastUsed.Store(r.started.UnixNano())
	r.users.Store(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	r.id = s.last
	s.byID[r.id] = r
	return r, nil
}

// close forgets an instance; that there is none is no error: it may have been
// forgotten as idle.
func (s *instances) close(id int32) (*running, bool) {
	s.mu.Lock()
	r, ok := s.byID[id]
	delete(s.byID, id)
	s.mu.Unlock()
	if ok {
		r.done()
	}
	return r, ok
}

func (s *instances) forgetIdle() {
	oldest := s.now().Add(-forgetAfter).UnixNano()
	var idle []*running
	s.mu.Lock()
	for id, r := range s.byID {
		if r.lastUsed.Load() < oldest {
			delete(s.byID, id)
			idle = append(idle, r)
		}
	}
	s.mu.Unlock()
	for _, r := range idle {
		r.done()
	}
}

func (s *instances) closeAll() {
	s.mu.Lock()
	all := s.byID
	s.byID = map[int32]*running{}
	s.mu.Unlock()
	for _, r := range all {
		r.done()
	}
}
