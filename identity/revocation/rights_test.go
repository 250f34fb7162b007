package revocation_test

import (
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
	admin := connect(t, server.URL())
	grant := func(user, rights string) string {
		args := []any{"ACL", "SETUSER", user, "reset", "on", ">secret", "~earlybird:*", "-@all"}
		for right := range strings.FieldsSeq(rights) {
			args = append(args, "+"+right)
		}
		if err := admin.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
		return strings.Replace(server.URL(), "redis://", "redis://"+user+":secret@", 1)
	}
	const follows = "eval_ro xread hmget xlen"
	identity := newReplica(t, grant("identity", follows+" evalsha_ro eval evalsha hget hset hincrby del xadd xrange xrevrange xtrim time"), revocationtest.NewMemory())
	edge := newEdge(t, grant("edge", follows))
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
