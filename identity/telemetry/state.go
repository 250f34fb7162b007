package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/keyring"
)

// State holds the functions that are called for each scrape. All are required; each
// may be called at any time.
type State struct {
	Hashes   func() (running, waiting int)
	Keys     func() keyring.Stats
	Users    func() account.UserCacheStats
	Campaign func() campaign.Stats
}

// RegisterState registers the gauges of s.
func RegisterState(to prometheus.Registerer, s State) error {
	for _, c := range gauges(s) {
		if err := to.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func gauges(s State) []prometheus.Collector {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "earlybird_" + name, Help: help}, value)
	}
	counter := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "earlybird_" + name, Help: help}, value)
	}
	return []prometheus.Collector{
		gauge("password_hashing", "Passwords being hashed now.", func() float64 { n, _ := s.Hashes(); return float64(n) }),
		gauge("password_queue", "Passwords that wait to be hashed now.", func() float64 { _, n := s.Hashes(); return float64(n) }),
		gauge("keys_published", "Signing keys that verify now.", func() float64 { return float64(s.Keys().Published) }),
		gauge("key_age_seconds", "For how long the signing key has been signing.", func() float64 { return s.Keys().SigningAge.Seconds() }),
		gauge("key_successor", "1 when the next signing key is published and does not sign yet.", func() float64 { return flag(s.Keys().SuccessorSet) }),
		gauge("users_remembered", "Users in memory.", func() float64 { return float64(s.Users().Users) }),
		counter("user_reads_remembered_total", "Reads of a user answered from memory.", func() float64 { return float64(s.Users().Hits) }),
		gauge("campaign_ready", "1 when logins can be given places; otherwise they are answered with retry.", func() float64 { return flag(s.Campaign().Ready) }),
		gauge("campaign_behind", "1 when MongoDB lacks entries of the campaign's log: run earlybird campaign restore.", func() float64 { return flag(s.Campaign().Behind) }),
		gauge("campaign_damaged", "1 when an entry of the campaign's log cannot follow the one before it.", func() float64 { return flag(s.Campaign().Damaged) }),
		gauge("campaign_read_age_seconds", "Since when the campaign's log was not read to its end.", func() float64 { return s.Campaign().ReadAge.Seconds() }),
		gauge("campaign_queue", "Logins that wait for their place.", func() float64 { return float64(s.Campaign().Queued) }),
		gauge("campaign_places", "Places given in the campaign in force.", func() float64 { return float64(s.Campaign().Places) }),
		gauge("campaign_granted", "Grants of the campaign in force.", func() float64 { return float64(s.Campaign().Granted) }),
		gauge("campaign_remaining", "Slots of the campaign in force that are free.", func() float64 { return float64(s.Campaign().Remaining) }),
		gauge("mirror_lag_entries", "Entries of the log that Redis lacked when it was last filled.", func() float64 { return float64(s.Campaign().Lag) }),
		gauge("mirror_up", "1 when Redis answered the last call for the campaign.", func() float64 { return flag(s.Campaign().MirrorUp) }),
		gauge("mirror_foreign", "1 when Redis belongs to another database: it is not touched.", func() float64 { return flag(s.Campaign().Foreign) }),
		gauge("clock_skew_seconds", "This process's clock minus MongoDB's. Beyond 5 s no places are given.", func() float64 { return s.Campaign().Skew.Seconds() }),
		counter("user_reads_stored_total", "Reads of a user that asked MongoDB.", func() float64 { return float64(s.Users().Misses) }),
	}
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
