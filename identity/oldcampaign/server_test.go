package campaign_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// What a server remembers of having been compared with the ledger is its own,
// and does not last. Checked by leaving out, one at a time: set_repl in
// claim.lua (the replica and the log then have it), the comparison of the age
// with zero, and that with 100.
func TestCheckedServerIsRemembered(t *testing.T) {
	server := testserver.Redis(t, testserver.WithRedisArgs("--repl-diskless-sync-delay", "0"))
	replica := testserver.Redis(t, testserver.WithRedisArgs("--replicaof", fmt.Sprintf("127.0.0.1 %d", server.Port())))
	copied := connect(t, replica.URL())
	eventually(t, "the replica follows", func() bool {
		return strings.Contains(copied.Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
	b := newBench(t, server.URL())
	b.start(t, 1, 0)
	b.expect(t, "a", granted("1", 1))
	b.expect(t, "b", state(campaign.StateFull))
	eventually(t, "the replica has the arrival", func() bool { return copied.ZCard(t.Context(), campaign.KeyArrivals).Val() == 1 })
	own := b.redis.HGet(t.Context(), campaign.KeyCampaign, "checked").Val()
	if own == "" {
		t.Fatal("the server remembers nothing")
	}
	if got := copied.HGet(t.Context(), campaign.KeyCampaign, "checked").Val(); got != "" {
		t.Errorf("the replica took over %q", got)
	}

	process := own[:len(own)-len(b.redis.HGet(t.Context(), campaign.KeyCampaign, "run_id").Val())]
	for name, offset := range map[string]time.Duration{"clock set back": time.Hour, "too old": -200 * time.Millisecond} {
		now := b.redis.Time(t.Context()).Val()
		b.redis.HSet(t.Context(), campaign.KeyCampaign, "run_id", "other", "checked", process+"other",
			"checked_at", now.Add(offset).UnixMilli())
		if got := b.claim(t, "c"); got != state(campaign.StatePending) {
			t.Errorf("%s: claim %+v, want pending", name, got)
		}
	}
	b.redis.HDel(t.Context(), campaign.KeyCampaign, "checked", "checked_at")
	b.repair(t)
	b.expect(t, "c", state(campaign.StateFull))
	server.Kill()
	server.Start()
	if got := b.redis.HGet(t.Context(), campaign.KeyCampaign, "checked").Val(); got != "" {
		t.Errorf("the log gave back %q", got)
	}
	if got := b.claim(t, "c"); got != state(campaign.StatePending) {
		t.Errorf("after a restart: claim %+v, want pending", got)
	}
}

// Rule 6: a server that was replaced, took over what its replacement had, and
// is the primary again has the run id it always had, and has lost arrivals all
// the same. Checked by comparing run ids alone.
func TestFailBackIsNoticed(t *testing.T) {
	server := testserver.Redis(t, testserver.WithRedisArgs("--repl-diskless-sync-delay", "0"))
	other := testserver.Redis(t, testserver.WithRedisArgs("--repl-diskless-sync-delay", "0"))
	b, copied := newBench(t, server.URL()), connect(t, other.URL())
	follow := func(client redis.UniversalClient, of *testserver.RedisServer) {
		t.Helper()
		if err := client.Do(t.Context(), "REPLICAOF", "127.0.0.1", of.Port()).Err(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the replica follows", func() bool {
			return strings.Contains(client.Info(t.Context(), "replication").Val(), "master_link_status:up")
		})
	}
	lead := func(client redis.UniversalClient) {
		t.Helper()
		if err := client.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
			t.Fatal(err)
		}
	}
	b.start(t, 5, 0)
	b.expect(t, "a", granted("1", 1))
	follow(copied, server)
	lead(copied)
	b.expect(t, "lost", granted("1", 2))
	follow(b.redis, other)
	lead(b.redis)
	b.redis.HDel(t.Context(), campaign.KeyCampaign, "checked") // a fail-over takes longer than this holds
	if got := b.claim(t, "b"); got != state(campaign.StatePending) {
		t.Errorf("claim %+v, want pending", got)
	}
	b.repair(t)
	b.expect(t, "b", granted("1", 2))
}
