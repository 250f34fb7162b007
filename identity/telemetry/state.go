package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/earlybird/earlybird/identity/keyring"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
	"github.com/earlybird/earlybird/identity/usercache"
)

// backlogTimeout bounds the look that a scrape takes at Redis and MongoDB.
const backlogTimeout = 2 * time.Second

// State is what is read when somebody asks for the metrics. Every field is
// required; each may be called at any time.
type State struct {
	Hashes  func() (running, waiting int)
	Keys    func() keyring.Stats
	Users   func() usercache.Stats
	Backlog func(ctx context.Context) (keeper.Backlog, error)
}

// RegisterState registers the gauges of s.
func RegisterState(to prometheus.Registerer, s State) error {
	for _, c := range append(gauges(s), backlog{s.Backlog}) {
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
		gauge("key_successor", "1 when the next signing key is published and does not sign yet.", func() float64 {
			if s.Keys().SuccessorSet {
				return 1
			}
			return 0
		}),
		gauge("users_remembered", "Users in memory.", func() float64 { return float64(s.Users().Users) }),
		counter("user_reads_remembered_total", "Reads of a user answered from memory.", func() float64 { return float64(s.Users().Hits) }),
		counter("user_reads_stored_total", "Reads of a user that asked MongoDB.", func() float64 { return float64(s.Users().Misses) }),
	}
}

var (
	backlogKnown = prometheus.NewDesc("earlybird_backlog_known",
		"1 when the other backlog metrics could be read; without it they are absent.", nil, nil)
	undrained = prometheus.NewDesc("earlybird_ledger_undrained",
		"Entries of the outbox in Redis that are not in the ledger yet.", nil, nil)
	undrainedAge = prometheus.NewDesc("earlybird_ledger_lag_seconds",
		"Age of the first entry of the outbox that is not in the ledger yet.", nil, nil)
	expected = prometheus.NewDesc("earlybird_expected_logins",
		"Logins that wait to be counted, 1,000 at most.", nil, nil)
	expectedAge = prometheus.NewDesc("earlybird_expected_age_seconds",
		"Age of the first login that waits to be counted; from 10 s on it is swept.", nil, nil)
	conflicts = prometheus.NewDesc("earlybird_ledger_conflicts",
		"Grants of the current campaign that the ledger refused to count. Not 0: run earlybird campaign audit.", nil, nil)
)

// backlog asks when it is asked, so that a service that nobody watches does
// not ask at all.
type backlog struct {
	look func(ctx context.Context) (keeper.Backlog, error)
}

// Describe implements prometheus.Collector.
func (b backlog) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{backlogKnown, undrained, undrainedAge, expected, expectedAge, conflicts} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (b backlog) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), backlogTimeout)
	defer cancel()
	gauge := func(d *prometheus.Desc, value float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
	now, err := b.look(ctx)
	if err != nil {
		gauge(backlogKnown, 0)
		return
	}
	gauge(backlogKnown, 1)
	gauge(undrained, float64(now.Undrained))
	gauge(undrainedAge, now.OldestUndrained.Seconds())
	gauge(expected, float64(now.Expected))
	gauge(expectedAge, now.OldestExpected.Seconds())
	gauge(conflicts, float64(now.Conflicts))
}
