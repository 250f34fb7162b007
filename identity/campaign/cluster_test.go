package campaign_test

import (
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
)

func TestOnCluster(t *testing.T) {
	url := testserver.RedisCluster(t)
	client := connect(t, url)
	b := newBench(t, url)
	f, w := follow(t, url)
	b.start(t, 1, 5)
	b.expect(t, "a", granted("1", 1))
	b.expect(t, "b", state(campaign.StateFull))
	must(t)(b.admin.Extend(t.Context(), 2))
	b.expect(t, "b", granted("1", 2))
	eventually(t, "the feed follows", func() bool { p, _ := w.seen(); c, _ := f.Campaign(); return p["b"] == 2 && c.Slots == 2 })
	b.drain(t)
	if err := client.Del(t.Context(), campaign.KeyCampaign, campaign.KeyArrivals).Err(); err != nil {
		t.Fatal(err)
	}
	b.repair(t)
	b.expect(t, "b", granted("1", 2))
	b.ledgerIs(t, "1", map[string]int64{"a": 1, "b": 2})
	durable := campaign.NewClaimer(campaign.ClaimerConfig{Redis: client, Replicas: 1, Timeout: 200 * time.Millisecond})
	if got := durable.Claim(t.Context(), "a"); got != state(campaign.StatePending) {
		t.Errorf("durable claim without a replica: %+v, want pending", got)
	}
}
