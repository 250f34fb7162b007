package revocation

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the gauges of a process that runs Feeds, whose present Stats it
// tells. Of several the worst counts, and all that is in memory.
func Metrics(stats func() []Stats) []prometheus.Collector {
	gauge := func(name, help string, value func(s Stats) float64, join func(a, b float64) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			var all float64
			for i, s := range stats() {
				if v := value(s); i == 0 {
					all = v
				} else {
					all = join(all, v)
				}
			}
			return all
		})
	}
	sum := func(a, b float64) float64 { return a + b }
	return []prometheus.Collector{
		gauge("earlybird_revocations_ready", "1 when everything revoked before the start is known; until then no token is accepted.", func(s Stats) float64 {
			return flag(s.Ready)
		}, math.Min),
		gauge("earlybird_revocations_down_seconds", "For how long Redis has not answered; the last known revocations hold meanwhile. 0: it answers.", func(s Stats) float64 {
			if s.DownSince.IsZero() {
				return 0
			}
			return time.Since(s.DownSince).Seconds()
		}, math.Max),
		gauge("earlybird_revocations_unconfirmed_seconds", "For how long no identity service has confirmed that Redis holds every revocation; the last known ones hold meanwhile.", func(s Stats) float64 {
			if s.Confirmed.IsZero() {
				return 0
			}
			return time.Since(s.Confirmed).Seconds()
		}, math.Max),
		gauge("earlybird_revocations_foreign", "1 when Redis holds the revocations of another database, so that nothing is written to it.", func(s Stats) float64 {
			return flag(s.Foreign)
		}, math.Max),
		gauge("earlybird_revocations_tokens", "Revoked token ids in memory.", func(s Stats) float64 { return float64(s.Tokens) }, sum),
		gauge("earlybird_revocations_generations", "Users in memory whose tokens were ended.", func(s Stats) float64 { return float64(s.Generations) }, sum),
	}
}

func flag(set bool) float64 {
	if set {
		return 1
	}
	return 0
}
