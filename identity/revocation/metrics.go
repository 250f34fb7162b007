package revocation

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the gauges of a Feed, for whoever runs it to register.
func (f *Feed) Metrics() []prometheus.Collector {
	gauge := func(name, help string, value func(s Stats) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "earlybird_revocations_" + name, Help: help},
			func() float64 { return value(f.Stats()) })
	}
	return []prometheus.Collector{
		gauge("ready", "1 when everything revoked before the start is known; until then no token is accepted.", func(s Stats) float64 {
			if s.Ready {
				return 1
			}
			return 0
		}),
		gauge("down_seconds", "For how long Redis has not answered; the last known revocations hold meanwhile. 0: it answers.", func(s Stats) float64 {
			if s.DownSince.IsZero() {
				return 0
			}
			return f.cfg.Now().Sub(s.DownSince).Seconds()
		}),
		gauge("tokens", "Revoked token ids in memory.", func(s Stats) float64 { return float64(s.Tokens) }),
		gauge("generations", "Users in memory whose tokens were ended.", func(s Stats) float64 { return float64(s.Generations) }),
	}
}
