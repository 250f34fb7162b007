package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/earlybird/earlybird/identity/campaign/mirror"
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

// viewGauges are gauges of where this edge stands in the campaign's log: of several
// Redis the one that is the furthest behind. One collector has all of them, so that
// they are of one moment, as an audit needs them.
type viewGauges struct {
	views                    func() []mirror.ViewState
	epoch, seq, limit, fresh *prometheus.Desc
}

func newViewGauges(views func() []mirror.ViewState) viewGauges {
	gauge := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("earlybird_auth_campaign_"+name, help, nil, nil)
	}
	return viewGauges{
		views: views,
		epoch: gauge("epoch", "Epoch of the campaign's log that this edge follows; 0: there is none yet."),
		seq:   gauge("seq", "The last entry of that log which this edge has; -1: none."),
		limit: gauge("limit", "The last position that this edge tells as granted."),
		fresh: gauge("fresh", "1 when this edge can tell that a user holds no grant; otherwise it tells grant=unknown."),
	}
}

// Describe implements prometheus.Collector.
func (g viewGauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.epoch, g.seq, g.limit, g.fresh} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (g viewGauges) Collect(to chan<- prometheus.Metric) {
	views := g.views()
	if len(views) == 0 {
		return // no configuration runs
	}
	last := views[0]
	for _, v := range views {
		if v.Before(last.Place) {
			last = v
		}
	}
	fresh := 0.0
	if last.Fresh {
		fresh = 1
	}
	for desc, value := range map[*prometheus.Desc]float64{
		g.epoch: float64(last.Epoch), g.seq: float64(last.Seq), g.limit: float64(last.Limit), g.fresh: fresh,
	} {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
}
