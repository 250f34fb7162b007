package limit

import (
	"sync"
	"time"
)

// remembered is how long a refusal stands without Redis being asked, also when
// the limit gives an attempt back sooner. Retry-After says a second at least, so
// nobody who waits as told meets what is remembered.
const remembered = time.Second

// refusalsKept bounds how many are remembered, twice over. Those who are refused
// most often are among them; to forget one costs a question to Redis.
const refusalsKept = 4096

// refusals remembers who was refused just now, in two generations of maps, of
// which the older is dropped when the younger is as old as nothing in it matters
// any more, or full.
type refusals struct {
	mu         sync.Mutex
	begun      time.Time
	young, old map[string]refusal
}

type refusal struct {
	kind        Kind
	until, ends time.Time // of what is remembered, and of the limit
}

func newRefusals() *refusals { return &refusals{young: map[string]refusal{}} }

// note remembers what a decision says of an attempt. The limit by account is
// left out: it applies to some addresses and not to others.
func (r *refusals) note(a attempt, d decision, now time.Time) {
	key := map[Kind]string{ByAddress: a.address, ByBoth: a.both}[d.refused]
	if key == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.begun) > remembered || len(r.young) >= refusalsKept {
		r.old, r.young, r.begun = r.young, map[string]refusal{}, now
	}
	r.young[key] = refusal{kind: d.refused, until: now.Add(remembered), ends: now.Add(max(d.wait, remembered))}
}

// find returns the *LimitedError of what is remembered of one of the keys, or nil.
func (r *refusals) find(now time.Time, keys ...string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range keys {
		held, ok := r.young[key]
		if !ok {
			held = r.old[key]
		}
		if held.until.After(now) {
			return &LimitedError{Limit: held.kind, RetryAfter: held.ends.Sub(now)}
		}
	}
	return nil
}
