package mirror

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// Standing is one user's standing in the mirror, read in one step.
type Standing struct {
	Summary
	Position int64 // the user's position in the order of first logins; 0: none
	Voided   bool  // the user's place does not count
}

// Standing reads where a user stands. It only reads. It returns an
// *unavailable.Error when Redis does not answer.
func (m *Mirror) Standing(ctx context.Context, user string) (Standing, error) {
	const op = "read a standing"
	var values []string
	err := m.call(ctx, op, func(ctx context.Context) (err error) {
		values, err = standingScript.RunRO(ctx, m.redis, keys, user).StringSlice()
		return err
	})
	if err != nil {
		return Standing{}, err
	}
	s, err := parseStanding(values)
	if err != nil {
		return Standing{}, unavailable.New("redis", op, err)
	}
	return s, nil
}

func parseStanding(values []string) (Standing, error) {
	summary, err := parseSummary(values)
	if err != nil {
		return Standing{}, err
	}
	if len(values) != summaryValues+2 {
		return Standing{}, errors.New("the script returned no position")
	}
	position, err := strconv.ParseInt(values[summaryValues], 10, 64)
	return Standing{Summary: summary, Position: position, Voided: values[summaryValues+1] == "1"}, err
}

// Granted reports whether the user holds the grant.
func (s Standing) Granted() bool {
	return s.Position >= 1 && s.Position <= s.Limit && !s.Voided
}

// Outcome is what the client learns of the promotion after a login.
type Outcome struct {
	Status campaign.Status
	// The rest only with StatusGranted.
	Campaign int64
	Rank     int64
	Discount int64 // percent
}

// Outcome returns the outcome for a user whose login has been placed if it could
// be. The first status that applies wins.
func (s Standing) Outcome() Outcome {
	switch {
	case s.Granted():
		return Outcome{Status: campaign.StatusGranted, Campaign: s.Campaign, Rank: s.Position, Discount: s.Settings.DiscountOf(s.Position)}
	case s.Phase == campaign.PhaseEnded:
		return Outcome{Status: campaign.StatusEnded}
	case s.Phase == campaign.PhasePaused:
		return Outcome{Status: campaign.StatusPaused}
	case s.Phase == campaign.PhaseOpen:
		return Outcome{Status: campaign.StatusFull}
	default:
		return Outcome{Status: campaign.StatusNone}
	}
}

// Standings reads where users stand; *Mirror does.
type Standings interface {
	Standing(ctx context.Context, user string) (Standing, error)
}

// ResolverConfig configures a Resolver. Standings is required.
type ResolverConfig struct {
	Standings Standings
	Timeout   time.Duration // of one Resolve, its first connection included; 0: 250 ms
}

// Resolver finds out the outcome of a login. It reads the mirror, as every edge
// does, so the client gets the same answer as the services behind the gateway. It
// is safe for concurrent use.
type Resolver struct{ cfg ResolverConfig }

// How long a Resolver waits between two reads of a mirror that is behind.
const (
	firstWait      = 5 * time.Millisecond // doubled each time
	longestWait    = 40 * time.Millisecond
	resolveTimeout = 250 * time.Millisecond
)

// NewResolver returns a Resolver.
func NewResolver(cfg ResolverConfig) *Resolver {
	if cfg.Timeout == 0 {
		cfg.Timeout = resolveTimeout
	}
	return &Resolver{cfg: cfg}
}

// Resolve returns the outcome of a login whose user has a place in the log. It waits
// until the mirror has reached the place at. If that takes too long, the outcome
// is StatusPending.
func (t *Resolver) Resolve(ctx context.Context, user string, at campaign.Place) Outcome {
	pending := Outcome{Status: campaign.StatusPending}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		s, err := t.cfg.Standings.Standing(ctx, user)
		if err == nil && s.Intact && !s.Before(at) {
			if s.Position == 0 {
				return pending // the mirror holds another campaign by now, or another database
			}
			return s.Outcome()
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return pending
		case <-timer.C:
		}
	}
}
