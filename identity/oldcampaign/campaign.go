// Package campaign is the promotion: one campaign at a time gives a discount
// to the first so many users who log in while it is active.
//
// Redis decides who was first, in one script ([Claimer]); MongoDB keeps the
// ledger of what was decided ([Ledger]). The package is imported by the
// identity service, by the plugins at the edge and by the command line; it
// knows neither Kong nor a database driver other than Redis.
package campaign

import (
	"errors"
	"time"
)

// Status is where a campaign stands.
type Status string

// The statuses of a campaign. A campaign that is active but whose start lies
// in the future is shown as scheduled.
const (
	Scheduled Status = "scheduled"
	Active    Status = "active"
	Paused    Status = "paused"
	Ended     Status = "ended"
)

// Campaign is one version of a campaign's settings. Every change is a new
// version; the history is never rewritten.
type Campaign struct {
	ID          string
	Version     int64 // 1, 2, 3, ...
	Name        string
	Description string
	Discount    int64 // percent, 0 to 100
	Slots       int64 // how many users are granted the discount
	Waitlist    int64 // how many users after them are remembered in order
	Status      Status
	StartsAt    time.Time // logins before do not count; zero: at once
	EndsAt      time.Time // logins from then on do not count; zero: never
	ChangedAt   time.Time
	ChangedBy   string // who made this version
}

// Grant is the discount one user holds in one campaign.
type Grant struct {
	CampaignID string
	UserID     string
	Rank       int64 // 1 for the first
	GrantedAt  time.Time
}

// Promotion is what a user is told of their grant.
type Promotion struct {
	Grant
	Name        string
	Description string
	Discount    int64 // percent
}

// State is what a login is told of the promotion: the Earlybird response
// header's status.
type State string

// The states of a claim. Only Granted comes with a rank.
const (
	StateGranted State = "granted" // the user holds a grant, durably
	StateFull    State = "full"    // no grant yet: on the waiting list, or past it
	StateNone    State = "none"    // no campaign, or one that has not started
	StatePaused  State = "paused"  // logins do not count just now
	StateEnded   State = "ended"   // the campaign is over and the user holds no grant of it
	StatePending State = "pending" // not known yet; it will be
)

// Outcome is the answer to a claim. CampaignID, Rank and Discount are set only
// when State is StateGranted.
type Outcome struct {
	State      State
	CampaignID string
	Rank       int64
	Discount   int64 // percent
}

// Errors of the domain; compare with errors.Is.
var (
	// ErrNoCampaign: there is no campaign to act on.
	ErrNoCampaign = errors.New("there is no campaign")
	// ErrNoGrant: the user holds no grant of the current campaign.
	ErrNoGrant = errors.New("no grant")
	// ErrConflict: somebody else changed the campaign at the same time.
	ErrConflict = errors.New("the campaign was changed by somebody else")
)

// StatusAt is where the campaign stands at a time: what was decided, and what
// its start and end make of it.
func (c Campaign) StatusAt(now time.Time) Status {
	switch {
	case c.Status == Ended || (!c.EndsAt.IsZero() && !now.Before(c.EndsAt)):
		return Ended
	case c.Status == Paused:
		return Paused
	case now.Before(c.StartsAt):
		return Scheduled
	default:
		return Active
	}
}
