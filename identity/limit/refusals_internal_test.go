package limit

import (
	"strconv"
	"testing"
	"time"
)

// However many are refused in a second, no more are remembered than the bound,
// and the latest are.
func TestRefusalsAreBounded(t *testing.T) {
	r, now := newRefusals(), time.Unix(1_800_000_000, 0)
	for i := range 5 * refusalsKept {
		key := strconv.Itoa(i)
		r.note(attempt{names: names{address: key}}, decision{refused: ByAddress, wait: time.Minute}, now)
		if n := len(r.young) + len(r.old); n > 2*refusalsKept {
			t.Fatalf("%d are remembered after %d", n, i+1)
		}
		if r.find(now, key) == nil {
			t.Fatalf("the latest, %s, is not remembered", key)
		}
	}
}
