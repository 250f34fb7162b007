// Package telemetry provides the service's metrics for Prometheus, its traces over
// OTLP, and the listener that serves metrics and profiles.
package telemetry

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/limit"
	"github.com/earlybird/earlybird/identity/password"
)

// Metrics are the numbers of logins, hashes and the store.
type Metrics struct {
	logins   *prometheus.CounterVec
	lost     *prometheus.CounterVec
	hash     prometheus.Histogram
	wait     prometheus.Histogram
	form     *prometheus.GaugeVec
	commands *prometheus.HistogramVec
	placed   *prometheus.CounterVec
	place    prometheus.Histogram
	appends  *prometheus.HistogramVec
	users    prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(to prometheus.Registerer) *Metrics {
	m := &Metrics{
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "earlybird_logins_total",
			Help: "Logins by outcome, as in the login audit.",
		}, []string{"outcome"}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "earlybird_logins_unaudited_total",
			Help: "Logins and changes of password that are not in the login audit, by outcome: too many at once, or MongoDB did not take them.",
		}, []string{"outcome"}),
		hash: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "earlybird_password_hash_seconds", Help: "Time of one password hash, without the wait for it.",
			Buckets: []float64{.005, .01, .02, .03, .04, .06, .08, .12, .2, .4, .8, 1.6},
		}),
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "earlybird_password_wait_seconds", Help: "Time that a password waited to be hashed.",
			Buckets: []float64{.001, .01, .05, .1, .25, .5, 1, 2, 3, 4, 5, 10},
		}),
		form: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "earlybird_password_hash_form", Help: "1 for the form of Argon2id that this processor runs: avx512, avx2 or generic.",
		}, []string{"form"}),
		commands: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "earlybird_store_command_seconds", Help: "Time of one command to MongoDB.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"command", "collection", "result"}),
	}
	m.placed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "earlybird_placements_total", Help: "Logins by their status in the promotion. retry: the login may not have counted.",
	}, []string{"status"})
	m.place = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "earlybird_placement_seconds", Help: "Time that a login waited for its place.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2},
	})
	m.appends = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "earlybird_log_append_seconds", Help: "Time of one insert into the campaign's log.",
		Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2},
	}, []string{"result"})
	m.users = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "earlybird_places_given_total", Help: "Users who were given a place by this process.",
	})
	for _, status := range []campaign.Status{
		campaign.StatusPending, campaign.StatusFull, campaign.StatusNone, campaign.StatusPaused, campaign.StatusEnded, campaign.StatusRetry,
	} {
		m.placed.WithLabelValues(string(status))
	}
	to.MustRegister(m.placed, m.place, m.appends, m.users)
	to.MustRegister(m.logins, m.lost, m.hash, m.wait, m.form, m.commands)
	for _, outcome := range []account.Outcome{
		account.OutcomeSuccess, account.OutcomeWrongPassword, account.OutcomeUnknownUser, account.OutcomeDisabled,
		account.OutcomeLimited, account.OutcomeBusy, account.OutcomeUnavailable,
	} {
		m.logins.WithLabelValues(string(outcome)) // so that a first one is seen to rise from 0
		m.lost.WithLabelValues(string(outcome))
	}
	return m
}

// Hashed notes one password hash: the Observe of password.Config.
func (m *Metrics) Hashed(waited, took time.Duration) {
	m.wait.Observe(waited.Seconds())
	m.hash.Observe(took.Seconds())
}

// Placed counts a login by its status: the Placed of campaign.ReplicaConfig.
func (m *Metrics) Placed(s campaign.Status, took time.Duration) {
	m.placed.WithLabelValues(string(s)).Inc()
	m.place.Observe(took.Seconds())
}

// Appended notes an insert into the log: the Appended of campaign.ReplicaConfig.
func (m *Metrics) Appended(users int, took time.Duration, err error) {
	switch {
	case err == nil:
		m.appends.WithLabelValues("ok").Observe(took.Seconds())
		m.users.Add(float64(users))
	case errors.Is(err, campaign.ErrTaken):
		m.appends.WithLabelValues("taken").Observe(took.Seconds())
	default:
		m.appends.WithLabelValues("failed").Observe(took.Seconds())
	}
}

// HashForm notes the form of Argon2id that is used: the Form of password.Hasher.
func (m *Metrics) HashForm(form string) { m.form.WithLabelValues(form).Set(1) }

// Unaudited notes an attempt that is not in the audit: the Unrecorded of
// account.ServiceConfig.
func (m *Metrics) Unaudited(outcome account.Outcome) { m.lost.WithLabelValues(string(outcome)).Inc() }

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

// outcomeOf is the outcome as it was audited, or would have been.
func outcomeOf(audited string, err error) string {
	if audited != "" {
		return audited
	}
	outcome := account.OutcomeUnavailable
	switch {
	case err == nil:
		outcome = account.OutcomeSuccess
	case errors.Is(err, limit.ErrLimited):
		outcome = account.OutcomeLimited
	case errors.Is(err, password.ErrBusy):
		outcome = account.OutcomeBusy
	case errors.Is(err, context.Canceled):
		outcome = account.OutcomeCanceled
	}
	return string(outcome)
}

// Store wraps s so that Count knows which attempts were audited.
func (m *Metrics) Store(s account.Store) account.Store { return auditing{s} }

type auditing struct{ account.Store }

func (s auditing) RecordAttempt(ctx context.Context, a account.Attempt) error {
	if audited, ok := ctx.Value(auditKey{}).(*string); ok {
		*audited = string(a.Outcome)
	}
	return s.Store.RecordAttempt(ctx, a)
}
