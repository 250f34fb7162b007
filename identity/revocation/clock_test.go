package revocation_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/revocation/revocationtest"
)

// A clock that runs ahead makes an edge forget what seems to be over. Once it is
// right again, tokens that seemed to have expired are good again, but not those
// that were revoked.
func TestClockSetForwardAndBack(t *testing.T) {
	t.Parallel()
	url := "redis://" + miniredis.RunT(t).Addr()
	identity := newReplica(t, url, revocationtest.NewMemory())
	var ahead atomic.Int64
	edge := revocation.NewFeed(revocation.FeedConfig{
		Redis: connect(t, url), Log: quiet, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	start(t, edge.Run)
	within(t, starting, "edge ready", edge.Ready)
	revoke(t, identity, "T1")
	raise(t, identity, "alice", 0)
	knows := func() bool { return edge.Revoked("T1", "", 0) && edge.Revoked("", "alice", 0) }
	within(t, starting, "edge knows", knows)
	ahead.Store(int64(2 * time.Hour))
	within(t, starting, "it is forgotten", func() bool { s := edge.Stats(); return s.Tokens+s.Generations == 0 })
	ahead.Store(0)
	within(t, starting, "edge knows again", knows)
}
