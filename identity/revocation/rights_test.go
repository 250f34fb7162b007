package revocation_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/revocation/revocationtest"
)

// The rights in Redis that the identity service and the edges need for
// revocations.
func TestRights(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	follows := strings.Fields("~earlybird:* -@all +eval_ro +xread +hmget +xlen")
	writes := strings.Fields("+evalsha_ro +eval +evalsha +hget +hset +hincrby +del +xadd +xrange +xrevrange +xtrim +time")
	admin := connect(t, server.URL())
	identityURL, edgeURL := server.User("identity", append(slices.Clone(follows), writes...)...), server.User("edge", follows...)
	if err := admin.ConfigResetStat(t.Context()).Err(); err != nil { // what made the users is not of interest
		t.Fatal(err)
	}
	identity := newReplica(t, identityURL, revocationtest.NewMemory())
	edge := newEdge(t, edgeURL)
	within(t, starting, "edge ready", edge.Ready)
	revoke(t, identity, "T1")
	within(t, soon, "edge knows", func() bool { return edge.Revoked("T1", "", 0) })
	if denied, err := admin.Do(t.Context(), "ACL", "LOG").Slice(); err != nil || len(denied) > 0 {
		t.Errorf("denied: %v, %v", denied, err)
	}
	// Which server knows a command, and then denies it, depends on its version.
	if errs, err := admin.Info(t.Context(), "errorstats").Result(); err != nil || strings.Contains(errs, "errorstat_ERR:") {
		t.Errorf("commands that fail: %s, %v", errs, err)
	}
}
