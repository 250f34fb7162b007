package auth

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what all Checkers of a process do.
type Metrics struct {
	hits, misses, unknown prometheus.Counter
	refused               *prometheus.CounterVec
}

// NewMetrics registers the metrics, unless registry is nil.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "earlybird_auth_token_lookups_total", Help: "Tokens looked up among those verified before.",
	}, []string{"result"})
	m := &Metrics{
		hits: lookups.WithLabelValues("hit"), misses: lookups.WithLabelValues("miss"),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "earlybird_auth_position_failures_total", Help: "Positions that could not be read from Redis.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "earlybird_auth_refused_total", Help: "Requests answered with an error, by reason.",
		}, []string{"reason"}),
	}
	if registry != nil {
		registry.MustRegister(lookups, m.unknown, m.refused)
	}
	return m
}
