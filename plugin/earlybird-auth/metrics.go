package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/earlybird/earlybird/identity/token"
)

// metrics are the counters that all checkers of the process share.
type metrics struct {
	hits, misses, unknown prometheus.Counter
	refused               *prometheus.CounterVec
}

// newMetrics registers the metrics, unless registry is nil.
func newMetrics(registry prometheus.Registerer) *metrics {
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "earlybird_auth_token_lookups_total", Help: "Lookups of tokens in the cache of verified ones.",
	}, []string{"result"})
	m := &metrics{
		hits: lookups.WithLabelValues("hit"), misses: lookups.WithLabelValues("miss"),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "earlybird_auth_grant_unknown_total", Help: "Requests that passed with grant=unknown.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "earlybird_auth_refused_total", Help: "Requests answered with an error, by reason.",
		}, []string{"reason"}),
	}
	for _, r := range token.Refusals() {
		m.refused.WithLabelValues(r.Reason) // so that a first one is seen to rise from 0
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
