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
	args := []any{"ACL", "SETUSER", "limits", "reset", "on", ">secret", "~earlybird:*", "-@all"}
	for right := range strings.FieldsSeq("eval evalsha time get set del expire zscore zadd zremrangebyrank") {
		args = append(args, "+"+right)
	}
	if err := connect(t, server.URL()).Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	client := connect(t, strings.Replace(server.URL(), "redis://", "redis://limits:secret@", 1))
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
