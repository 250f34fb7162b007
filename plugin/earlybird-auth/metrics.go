package main

import "github.com/prometheus/client_golang/prometheus"

// metrics counts what all checkers of the process do.
type metrics struct {
	hits, misses, unknown prometheus.Counter
	refused               *prometheus.CounterVec
}

// newMetrics registers the metrics, unless registry is nil.
func newMetrics(registry prometheus.Registerer) *metrics {
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "earlybird_auth_token_lookups_total", Help: "Tokens looked up among those verified before.",
	}, []string{"result"})
	m := &metrics{
		hits: lookups.WithLabelValues("hit"), misses: lookups.WithLabelValues("miss"),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "earlybird_auth_grant_unknown_total", Help: "Requests that went on with grant=unknown.",
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

// lookup counts one lookup of a token.
func (m *metrics) lookup(hit bool) {
	if hit {
		m.hits.Inc()
	} else {
		m.misses.Inc()
	}
}
