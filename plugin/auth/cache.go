package auth

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"github.com/earlybird/earlybird/plugin/edge"
)

// entry is a verified token. The token itself is not kept, only its hash.
type entry struct {
	sum        [sha256.Size]byte
	user       string
	tokenID    string
	generation int64
	until      int64 // nanoseconds since 1970: when it is no longer accepted
	person     *person
	losses     atomic.Uint64            // Keys.Losses when it was verified last
	used       atomic.Bool              // since the cache last looked for room
	written    atomic.Pointer[rendered] // the header as last written
}

// rendered is a header's value and what it says.
type rendered struct {
	standing edge.Standing
	value    string
}

// header is the upstream header, written anew only when the standing is
// another than last time.
func (e *entry) header(s edge.Standing) (string, error) {
	if r := e.written.Load(); r != nil && r.standing == s {
		return r.value, nil
	}
	value, err := edge.Upstream(e.user, e.tokenID, s)
	if err != nil {
		return "", err
	}
	e.written.Store(&rendered{standing: s, value: value})
	return value, nil
}

const maxShards = 16

// cache remembers a bounded number of entries by the hash of their token. When
// it is full, an entry makes room that has not been used for a while (the clock
// algorithm). It is divided, so that lookups rarely wait for each other.
type cache struct {
	shards []shard
}

type shard struct {
	limit   int
	evicted func(*person)

	mu    sync.Mutex
	index map[[sha256.Size]byte]int // into slots
	slots []*entry
	hand  int
}

// newCache returns a cache of at most size entries; evicted is told of the
// person of each entry that leaves it.
func newCache(size int, evicted func(*person)) *cache {
	size = max(size, 1)
	n := min(size, maxShards)
	c := &cache{shards: make([]shard, n)}
	for i := range c.shards {
		s := &c.shards[i]
		s.limit, s.evicted = size/n, evicted
		if i < size%n {
			s.limit++
		}
		s.index = map[[sha256.Size]byte]int{}
	}
	return c
}

func (c *cache) shard(sum [sha256.Size]byte) *shard {
	return &c.shards[int(sum[0])%len(c.shards)]
}

// get returns the entry of a token that is still good at now, and was verified
// with keys of which none has been taken away since.
func (c *cache) get(sum [sha256.Size]byte, now time.Time, losses uint64) (*entry, bool) {
	s := c.shard(sum)
	s.mu.Lock()
	i, ok := s.index[sum]
	var e *entry
	if ok {
		e = s.slots[i]
	}
	s.mu.Unlock()
	if !ok || now.UnixNano() >= e.until || e.losses.Load() != losses {
		return nil, false
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e, true
}

// put remembers e, and returns the entry of that token: another one when
// somebody was faster, or when it was verified again.
func (c *cache) put(e *entry) *entry {
	s := c.shard(e.sum)
	s.mu.Lock()
	loser := e.person
	kept := e
	if i, ok := s.index[e.sum]; ok {
		kept = s.slots[i]
		kept.losses.Store(e.losses.Load())
	} else {
		loser = s.insert(e)
	}
	s.mu.Unlock()
	if loser != nil {
		s.evicted(loser)
	}
	return kept
}

// insert returns the person of the entry that made room, if any. It is called
// with the lock held.
func (s *shard) insert(e *entry) *person {
	if len(s.slots) < s.limit {
		s.index[e.sum] = len(s.slots)
		s.slots = append(s.slots, e)
		return nil
	}
	for s.slots[s.hand].used.Swap(false) {
		s.hand = (s.hand + 1) % len(s.slots)
	}
	old := s.slots[s.hand]
	delete(s.index, old.sum)
	s.slots[s.hand] = e
	s.index[e.sum] = s.hand
	s.hand = (s.hand + 1) % len(s.slots)
	return old.person
}

// len is the number of entries.
func (c *cache) len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.slots)
		s.mu.Unlock()
	}
	return n
}
