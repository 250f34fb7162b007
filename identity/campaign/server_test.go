package campaign_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
)

// What a server remembers of having been compared with the ledger is its own,
// and does not last. Checked by leaving out, one at a time: set_repl in
// claim.lua (the replica and the log then have it), the comparison of the age
// with zero, and that with 100.
func TestCheckedServerIsRemembered(t *testing.T) {
	server := testserver.Redis(t, testserver.WithRedisArgs("--repl-diskless-sync-delay", "0"))
	replica := testserver.Redis(t, testserver.WithRedisArgs("--replicaof", fmt.Sprintf("127.0.0.1 %d", server.Port())))
	b := newBench(t, server.URL())
	b.start(t, 1, 0)
	copied := connect(t, replica.URL())
	eventually(t, "the replica follows", func() bool { return copied.Exists(t.Context(), campaign.KeyCampaign).Val() == 1 })
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
