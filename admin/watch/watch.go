// Package watch shows the progress of a campaign: a display that is redrawn on a
// terminal, and one line for each change elsewhere.
package watch

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Winner is one of those who were granted last.
type Winner struct {
	Rank     int64  `json:"rank"`
	UserID   string `json:"user_id"`
	Username string `json:"username"`
}

// Progress is how far a campaign has come.
type Progress struct {
	ID        string
	Name      string
	Discount  int64 // percent
	Slots     int64
	Granted   int64
	Remaining int64
	Waiting   int64
	Status    string
	StartsAt  time.Time
	EndsAt    time.Time // zero: when it is ended by hand
	Rehearsal bool
}

// Lag is how far Redis, which the gateways read, is behind the log.
type Lag struct {
	Entries int64         // that Redis lacks
	Beat    time.Duration // since an identity service last found Redis complete; negative: never
	Problem string        // why Redis cannot be used; empty: it can
}

// Sample is the state of the campaign at one moment.
type Sample struct {
	At       time.Time
	Progress Progress
	Latest   []Winner // the latest first
	Next     []Winner // who is in line, the next one first; Rank is their position
	Rate     float64  // logins that got a place, per second, over the last seconds
	Lag      Lag
	OpenedAt time.Time // when logins began to count; zero: not yet
	Since    time.Time // when the present status began; zero: it is scheduled
	FullAt   time.Time // when the last slot was granted; zero: there are slots left
	// Arrivals yields when logins took places, and how many, since the start. It is
	// nil before the first look that succeeded, and good until the next one.
	Arrivals iter.Seq2[time.Time, int64]
	Problem  string // why the rest is as it was before; empty when all is well
}

// View shows samples.
type View interface {
	Show(s Sample) error
}

// Config configures Run. All fields are required.
type Config struct {
	// Look reads the present state of the campaign; Run fills in the rate.
	Look  func(context.Context) (Sample, error)
	View  View
	Ticks <-chan time.Time // when to look again
	Now   func() time.Time
}

// ErrStop is for a Look after which there is nothing more to do.
var ErrStop = errors.New("the output is no longer read")

// Run looks and shows until ctx ends or Look says ErrStop, and returns nil then. The error of the
// first look ends it; later ones are shown, since what is down may come back.
func Run(ctx context.Context, cfg Config) error {
	var past pace
	var last Sample
	for first := true; ; first = false {
		s, err := cfg.Look(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, ErrStop):
			return nil
		case err != nil && first:
			return err
		case err != nil:
			s = last
			s.Problem = err.Error()
		}
		s.At = cfg.Now()
		if err == nil {
			s.Rate = past.add(s)
		}
		if err := cfg.View.Show(s); err != nil {
			return err
		}
		last = s
		select {
		case <-ctx.Done():
			return nil
		case <-cfg.Ticks:
		}
	}
}

// window is the time over which the rate is taken.
const window = 10 * time.Second

// pace remembers how many places were given when.
type pace struct {
	campaign string
	marks    []mark
}

type mark struct {
	at     time.Time
	places int64
}

// add notes a sample and returns the places given per second within the window.
func (p *pace) add(s Sample) float64 {
	if s.Progress.ID != p.campaign {
		p.campaign, p.marks = s.Progress.ID, nil
	}
	p.marks = append(p.marks, mark{s.At, s.Progress.Granted + s.Progress.Waiting})
	for len(p.marks) > 2 && s.At.Sub(p.marks[1].at) >= window {
		p.marks = p.marks[1:]
	}
	oldest, newest := p.marks[0], p.marks[len(p.marks)-1]
	passed := newest.at.Sub(oldest.at).Seconds()
	if passed <= 0 {
		return 0
	}
	return max(0, float64(newest.places-oldest.places)/passed)
}
