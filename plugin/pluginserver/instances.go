package pluginserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// forgetAfter is how long an instance without an event is kept. Kong does not
// close the instances of a worker that died or of a plugin taken out of
// kong.yml; one forgotten too early is simply started again.
const forgetAfter = time.Hour

// maxSequence bounds Kong's numbers; above it are those given here.
const maxSequence = math.MaxInt32 / 2

// running is an instance that Kong may send events for.
type running struct {
	Instance
	id       int32
	config   []byte
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

	mu    sync.RWMutex
	byID  map[int32]*running
	extra int32 // the last number given here
}

func newInstances(start StartFunc, now func() time.Time) *instances {
	return &instances{start: start, now: now, byID: map[int32]*running{}, extra: maxSequence}
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

func (s *instances) find(id int32) (*running, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.byID[id]
	return r, ok
}

func (s *instances) count() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.byID)
}

// open starts an instance under the configuration's __seq__. Each of Kong's
// workers counts for itself: the same number with the same configuration is the
// same instance, and with another configuration it gets a number from here.
func (s *instances) open(ctx context.Context, config []byte) (*running, error) {
	var meta struct {
		Sequence int64 `json:"__seq__"`
	}
	if err := json.Unmarshal(config, &meta); err != nil {
		return nil, fmt.Errorf("decode instance configuration: %w", err)
	}
	canonical, err := canonicalJSON(config)
	if err != nil {
		return nil, err
	}
	s.forgetIdle()
	if r, ok := s.find(int32(meta.Sequence)); ok && bytes.Equal(r.config, canonical) { //nolint:gosec // G115: the configuration, with its __seq__, is compared.
		return r, nil
	}
	instance, err := s.start(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("start instance: %w", err)
	}
	if instance == nil {
		return nil, errors.New("start instance: the plugin returned none")
	}
	r, added := s.add(meta.Sequence, instance, canonical)
	if !added {
		instance.Close()
	}
	return r, nil
}

// canonicalJSON orders the members: each of Kong's workers has an order of its own.
func canonicalJSON(config []byte) ([]byte, error) {
	var v any
	if err := json.Unmarshal(config, &v); err != nil {
		return nil, fmt.Errorf("decode instance configuration: %w", err)
	}
	return json.Marshal(v)
}

// add registers the instance, unless another worker has just started the same.
func (s *instances) add(sequence int64, instance Instance, config []byte) (r *running, added bool) {
	r = &running{Instance: instance, config: config, started: s.now()}
	r.lastUsed.Store(r.started.UnixNano())
	r.users.Store(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, ok := s.byID[int32(sequence)]; ok && bytes.Equal(other.config, config) { //nolint:gosec // G115: the configuration, with its __seq__, is compared.
		return other, false
	}
	r.id = s.freeID(sequence)
	s.byID[r.id] = r
	return r, true
}

// freeID is called with the lock held.
func (s *instances) freeID(sequence int64) int32 {
	if sequence >= 1 && sequence <= maxSequence {
		if _, taken := s.byID[int32(sequence)]; !taken {
			return int32(sequence)
		}
	}
	for {
		if s.extra++; s.extra <= maxSequence {
			s.extra = maxSequence + 1
		}
		if _, taken := s.byID[s.extra]; !taken {
			return s.extra
		}
	}
}

// close forgets an instance; that there is none is no error, since every
// worker may close it.
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
