package telemetry_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/keyring"
	"github.com/earlybird/earlybird/identity/telemetry"
)

// value is the value of a metric, or the count of a histogram, with a label.
func value(t *testing.T, from prometheus.Gatherer, name, label string) float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "earlybird_"+name {
			continue
		}
		for _, m := range family.GetMetric() {
			found := label == ""
			for _, l := range m.GetLabel() {
				found = found || l.GetValue() == label
			}
			if found {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Fatalf("no metric earlybird_%s with %q", name, label)
	return 0
}

// TestPlacements: each status is there from the start, so that the first retry is
// seen to rise from 0.
func TestPlacements(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := telemetry.NewMetrics(registry)
	for n, status := range []campaign.Status{"pending", "full", "none", "paused", "ended", "retry"} {
		if got := value(t, registry, "placements_total", string(status)); got != 0 {
			t.Errorf("%s begins at %v", status, got)
		}
		for range n {
			m.Placed(status, time.Millisecond)
		}
		if got := value(t, registry, "placements_total", string(status)); got != float64(n) {
			t.Errorf("%s was counted %v times, want %d", status, got, n)
		}
	}
	if got := value(t, registry, "placement_seconds", ""); got != 1+2+3+4+5 {
		t.Errorf("%v times were noted, want 15", got)
	}
}

// TestAppends: only users of an insert that was acknowledged have a place.
func TestAppends(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := telemetry.NewMetrics(registry)
	m.Appended(3, time.Millisecond, nil)
	m.Appended(0, time.Millisecond, nil) // a pause
	m.Appended(5, time.Millisecond, fmt.Errorf("insert: %w", campaign.ErrTaken))
	m.Appended(7, time.Millisecond, errors.New("write concern"))
	for result, want := range map[string]float64{"ok": 2, "taken": 1, "failed": 1} {
		if got := value(t, registry, "log_append_seconds", result); got != want {
			t.Errorf("%s: %v, want %v", result, got, want)
		}
	}
	if got := value(t, registry, "places_given_total", ""); got != 3 {
		t.Errorf("%v places, want 3", got)
	}
}

// TestCampaignState: each number of the replica has its metric, read anew for
// every scrape.
func TestCampaignState(t *testing.T) {
	stats := campaign.Stats{
		Ready: true, Skew: -1500 * time.Millisecond, Queued: 2, ReadAge: 3 * time.Second,
		Places: 120, Granted: 98, Remaining: 2, Lag: 4, MirrorUp: true,
	}
	registry := prometheus.NewRegistry()
	err := telemetry.RegisterState(registry, telemetry.State{
		Hashes: func() (int, int) { return 0, 0 }, Keys: func() keyring.Stats { return keyring.Stats{} },
		Users: func() account.UserCacheStats { return account.UserCacheStats{} }, Campaign: func() campaign.Stats { return stats },
	})
	if err != nil {
		t.Fatal(err)
	}
	check := func(want map[string]float64) {
		t.Helper()
		for name, wanted := range want {
			if got := value(t, registry, name, ""); got != wanted {
				t.Errorf("%s is %v, want %v", name, got, wanted)
			}
		}
	}
	check(map[string]float64{
		"campaign_ready": 1, "campaign_behind": 0, "campaign_damaged": 0, "clock_skew_seconds": -1.5, "campaign_queue": 2,
		"campaign_read_age_seconds": 3, "campaign_places": 120, "campaign_granted": 98, "campaign_remaining": 2,
		"mirror_lag_entries": 4, "mirror_up": 1, "mirror_foreign": 0,
	})
	stats = campaign.Stats{Behind: true, Damaged: true, Foreign: true}
	check(map[string]float64{"campaign_ready": 0, "campaign_behind": 1, "campaign_damaged": 1, "mirror_up": 0, "mirror_foreign": 1})
}
