package limit_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/limit"
)

// The rights in Redis that limits need, and no more. Checked by taking each of
// them away.
func TestRights(t *testing.T) {
	server := testserver.Redis(t)
	var log strings.Builder
	client := connect(t, server.User("limits", strings.Fields(
		"~earlybird:* -@all +eval +evalsha +time +get +set +del +expire +zscore +zadd +zremrangebyrank")...))
	l := limit.New(limit.Config{
		Redis: client, Account: three, Both: two, Address: many,
		Timeout: 10 * time.Second, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	take(t, l, "alice", "192.0.2.1").Succeeded(t.Context())
	take(t, l, "alice", "192.0.2.1").Undecided(t.Context())
	if _, err := limit.Inspect(t.Context(), client, "alice", []string{"192.0.2.1"}); err != nil {
		t.Error(err)
	}
	if log.Len() > 0 {
		t.Error(log.String())
	}
}
