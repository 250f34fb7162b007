package mirror_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
)

// Reasons count in this order: granted; none; ended; paused; full.
func TestOutcomeOrder(t *testing.T) {
	granted := mirror.Outcome{Status: campaign.StatusGranted, Campaign: 7, Rank: 3, Discount: 30}
	status := func(s campaign.Status) mirror.Outcome { return mirror.Outcome{Status: s} }
	for _, c := range []struct {
		name     string
		phase    campaign.Phase
		position int64
		voided   bool
		want     mirror.Outcome
	}{
		{"open, granted", campaign.PhaseOpen, 3, false, granted},
		{"paused, granted", campaign.PhasePaused, 3, false, granted},
		{"ended, granted", campaign.PhaseEnded, 3, false, granted},
		{"open, the last slot", campaign.PhaseOpen, 5, false, mirror.Outcome{Status: campaign.StatusGranted, Campaign: 7, Rank: 5, Discount: 30}},
		{"open, waiting", campaign.PhaseOpen, 6, false, status(campaign.StatusFull)},
		{"open, voided", campaign.PhaseOpen, 3, true, status(campaign.StatusFull)},
		{"open, past the waiting list", campaign.PhaseOpen, 0, false, status(campaign.StatusFull)},
		{"paused, waiting", campaign.PhasePaused, 6, false, status(campaign.StatusPaused)},
		{"ended, voided", campaign.PhaseEnded, 3, true, status(campaign.StatusEnded)},
		{"scheduled", campaign.PhaseScheduled, 0, false, status(campaign.StatusNone)},
		{"none", campaign.PhaseNone, 0, false, status(campaign.StatusNone)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mirror.Standing{
				Summary:  mirror.Summary{Campaign: 7, Phase: c.phase, Limit: 5, Settings: campaign.Settings{Discount: 30}},
				Position: c.position, Voided: c.voided,
			}
			if got := s.Outcome(); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

// standings answers each read with the next step, and with the last one from then
// on.
type standings struct {
	began time.Time
	at    []time.Duration
	steps []func() (mirror.Standing, error)
}

func (s *standings) Standing(context.Context, string) (mirror.Standing, error) {
	s.at = append(s.at, time.Since(s.began))
	step := s.steps[min(len(s.at), len(s.steps))-1]
	return step()
}

func at(seq int64, edit ...func(*mirror.Standing)) func() (mirror.Standing, error) {
	s := mirror.Standing{Summary: mirror.Summary{Campaign: 1, Phase: campaign.PhaseOpen, Limit: 5}, Position: 2}
	s.Origin, s.Intact, s.Place = origin, true, campaign.Place{Epoch: 1 << 20, Seq: seq}
	for _, e := range edit {
		e(&s)
	}
	return func() (mirror.Standing, error) { return s, nil }
}

// h7: a login is told nothing that the mirror said before it had come as far as
// the log had when the login was placed.
// Broken on purpose by leaving the place out of Resolve, and by leaving out Intact.
func TestALoginIsToldNothingFromBeforeItsPlace(t *testing.T) {
	refused := func() (mirror.Standing, error) { return mirror.Standing{}, errors.New("refused") }
	voided := func(s *mirror.Standing) { s.Voided = true }
	damaged := func(s *mirror.Standing) { s.Intact = false }
	nobody := func(s *mirror.Standing) { s.Position = 0 }
	ms := time.Millisecond
	for _, c := range []struct {
		name  string
		steps []func() (mirror.Standing, error)
		want  campaign.Status
		reads []time.Duration
	}{
		{"there at once", []func() (mirror.Standing, error){at(9)}, campaign.StatusGranted, []time.Duration{0}},
		{"beyond", []func() (mirror.Standing, error){at(12)}, campaign.StatusGranted, []time.Duration{0}},
		{"a little later", []func() (mirror.Standing, error){at(8), at(8), refused, at(8), at(9, voided)}, campaign.StatusFull, []time.Duration{0, 5 * ms, 15 * ms, 35 * ms, 75 * ms}},
		{"not intact", []func() (mirror.Standing, error){at(9, damaged), at(9)}, campaign.StatusGranted, []time.Duration{0, 5 * ms}},
		{"never", []func() (mirror.Standing, error){at(8)}, campaign.StatusPending, []time.Duration{0, 5 * ms, 15 * ms, 35 * ms, 75 * ms, 115 * ms, 155 * ms, 195 * ms, 235 * ms}},
		{"another campaign by now, or another database", []func() (mirror.Standing, error){at(9, nobody)}, campaign.StatusPending, []time.Duration{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &standings{began: time.Now(), steps: c.steps}
				got := mirror.NewResolver(mirror.ResolverConfig{Standings: s}).Resolve(t.Context(), "u", campaign.Place{Epoch: 1 << 20, Seq: 9})
				if got.Status != c.want {
					t.Errorf("told %+v, want %s", got, c.want)
				}
				if len(s.at) != len(c.reads) {
					t.Fatalf("it reads after %v, want %v", s.at, c.reads)
				}
				for i := range s.at {
					if s.at[i] != c.reads[i] {
						t.Errorf("it reads after %v, want %v", s.at, c.reads)
					}
				}
				if took := time.Since(s.began); took > 250*ms {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// A mirror that is slow costs a login no more than the Resolver's time.
func TestResolveIsBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := campaigntest.NewMirror()
		m.Suffer(campaigntest.MirrorFaults{Delay: time.Minute})
		began := time.Now()
		got := mirror.NewResolver(mirror.ResolverConfig{Standings: m, Timeout: 100 * time.Millisecond}).Resolve(t.Context(), "u", campaign.Place{})
		if took := time.Since(began); got.Status != campaign.StatusPending || took != 100*time.Millisecond {
			t.Errorf("told %+v after %s", got, took)
		}
	})
}
