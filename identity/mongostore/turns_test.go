package mongostore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/earlybird/earlybird/identity/unavailable"
)

// Whoever waits for a server that does not answer is told so in time.
func TestTurnIsWaitedForInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns()
		unlock, err := turns.lock(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = turns.lock(t.Context(), "alice")
		if !unavailable.Is(classify("update", err)) || time.Since(start) != turnWait {
			t.Errorf("after %s: %v, want an outage after %s", time.Since(start), err, turnWait)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := turns.lock(gone, "alice"); !errors.Is(err, context.Canceled) || unavailable.Is(classify("update", err)) {
			t.Errorf("caller that has gone: %v, want context.Canceled and no outage", err)
		}
		unlock()
		if unlock, err = turns.lock(t.Context(), "alice"); err != nil {
			t.Fatal(err)
		}
		unlock()
	})
}
