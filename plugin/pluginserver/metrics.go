package pluginserver

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the server's own; a plugin adds its own to the same registry.
type metrics struct {
	events    [3]prometheus.Counter // by verdict
	duration  prometheus.Histogram
	panics    prometheus.Counter
	overruled prometheus.Counter
	badFrames prometheus.Counter
}

func newMetrics(registry prometheus.Registerer, plugin string, s *Server) *metrics {
	labels := prometheus.Labels{"plugin": plugin}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels})
		registry.MustRegister(c)
		return c
	}
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "earlybird_plugin_events_total", Help: "Requests handled, by how the handler ended.", ConstLabels: labels,
	}, []string{"verdict"})
	m := &metrics{
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "earlybird_plugin_event_duration_seconds", Help: "Time from Kong's event to the plugin's decision, Kong's calls included.",
			ConstLabels: labels, Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .05, .25, 1, 10},
		}),
		panics:    counter("earlybird_plugin_panics_total", "Handlers that panicked."),
		overruled: counter("earlybird_plugin_overruled_total", "Handlers that ran too long."),
		badFrames: counter("earlybird_plugin_bad_frames_total", "Connections ended by a frame that was truncated, too large or unknown."),
	}
	for verdict, name := range map[Verdict]string{Undecided: "undecided", Continue: "continue", Exited: "exit"} {
		m.events[verdict] = events.WithLabelValues(name)
	}
	registry.MustRegister(events, m.duration,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "earlybird_plugin_instances", Help: "Plugin configurations that run, counted in each of Kong's workers.", ConstLabels: labels,
		}, func() float64 { return float64(s.instances.count()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "earlybird_plugin_connections", Help: "Open connections of Kong.", ConstLabels: labels,
		}, func() float64 { return float64(len(s.connections())) }))
	return m
}

func (m *metrics) observe(verdict Verdict, took time.Duration) {
	if verdict < Undecided || verdict > Exited {
		verdict = Undecided
	}
	m.events[verdict].Inc()
	m.duration.Observe(took.Seconds())
}
