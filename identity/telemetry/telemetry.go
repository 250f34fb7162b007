// Package telemetry tells the operators how the service fares: metrics for
// Prometheus, traces over OTLP, and the address on which metrics and profiles
// are read.
package telemetry

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/outage"
	"github.com/earlybird/earlybird/identity/password"
)

// The outcomes of logins that ended before they were decided; those that were
// have the audit's names (account.Outcome).
const (
	outcomeBusy        = "busy"        // the hash queue was full
	outcomeUnavailable = "unavailable" // a dependency did not answer
	outcomeCanceled    = "canceled"    // the client went away
	outcomeRefused     = "refused"     // refused otherwise: a limit
)

// Metrics are the numbers of logins, hashes and the store.
type Metrics struct {
	logins   *prometheus.CounterVec
	hash     prometheus.Histogram
	wait     prometheus.Histogram
	commands *prometheus.HistogramVec
}

// NewMetrics registers the metrics.
func NewMetrics(to prometheus.Registerer) *Metrics {
	m := &Metrics{
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "earlybird_logins_total",
			Help: "Logins by outcome: as in the audit, or busy, unavailable, canceled or refused when it was not decided.",
		}, []string{"outcome"}),
		hash: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "earlybird_password_hash_seconds", Help: "Time of one password hash, without the wait for it.",
			Buckets: []float64{.005, .01, .02, .03, .04, .06, .08, .12, .2, .4, .8, 1.6},
		}),
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "earlybird_password_wait_seconds", Help: "Time that a password waited to be hashed.",
			Buckets: []float64{.001, .01, .05, .1, .25, .5, 1, 2, 3, 4, 5, 10},
		}),
		commands: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "earlybird_store_command_seconds", Help: "Time of one command to MongoDB.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"command", "collection", "result"}),
	}
	to.MustRegister(m.logins, m.hash, m.wait, m.commands)
	for _, outcome := range []string{
		string(account.OutcomeSuccess), string(account.OutcomeWrongPassword), string(account.OutcomeUnknownUser),
		string(account.OutcomeDisabled), outcomeBusy, outcomeUnavailable,
	} {
		m.logins.WithLabelValues(outcome) // so that a first one is seen to rise from 0
	}
	return m
}

// Hashed notes one password hash: the Observe of password.Config.
func (m *Metrics) Hashed(waited, took time.Duration) {
	m.wait.Observe(waited.Seconds())
	m.hash.Observe(took.Seconds())
}

// Authenticate is a login: the method of *account.Service.
type Authenticate func(ctx context.Context, r account.LoginRequest) (account.Credential, error)

// auditKey is where a login's context holds a place for the audited outcome.
type auditKey struct{}

// Count returns login with each call counted. The store under it must be the
// one that Store returned: it knows how the attempt was audited.
func (m *Metrics) Count(login Authenticate) Authenticate {
	return func(ctx context.Context, r account.LoginRequest) (account.Credential, error) {
		var audited string
		c, err := login(context.WithValue(ctx, auditKey{}, &audited), r)
		m.logins.WithLabelValues(outcomeOf(audited, err)).Inc()
		return c, err
	}
}

func outcomeOf(audited string, err error) string {
	switch {
	case audited != "":
		return audited
	case err == nil:
		return string(account.OutcomeSuccess)
	case errors.Is(err, password.ErrBusy):
		return outcomeBusy
	case outage.Is(err):
		return outcomeUnavailable
	case errors.Is(err, context.Canceled):
		return outcomeCanceled
	default:
		return outcomeRefused
	}
}

// Store returns s with the audited outcomes told to Count.
func (m *Metrics) Store(s account.Store) account.Store { return auditing{s} }

type auditing struct{ account.Store }

func (s auditing) RecordAttempt(ctx context.Context, a account.Attempt) error {
	if audited, ok := ctx.Value(auditKey{}).(*string); ok {
		*audited = string(a.Outcome)
	}
	return s.Store.RecordAttempt(ctx, a)
}
