// Package campaign implements the promotion. One campaign runs at a time; it
// gives a discount to the first users who log in while it is open, up to its
// number of slots.
//
// Each campaign is a log: an append-only, hash-chained sequence of entries
// ([Entry]). The insert of the next sequence number, acknowledged by a majority
// of the database, is the only way to decide anything: who was first, more
// slots, a pause, the end. All other state is derived: a fold of the log
// ([Fold]) or a copy of a prefix of it ([Mirror]).
//
// A [Replica] is one process's copy of the log: it follows the log, gives users
// their places, and keeps the mirror up to date. An [Admin] appends operators'
// decisions. The package does not depend on MongoDB or Redis; it reaches them
// through [Store] and [Mirror].
package campaign

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Phase is a stage in the life of a campaign.
type Phase string

// The phases of a campaign. Only an open one gives places.
const (
	PhaseNone      Phase = "none" // there is no campaign
	PhaseScheduled Phase = "scheduled"
	PhaseOpen      Phase = "open"
	PhasePaused    Phase = "paused"
	PhaseEnded     Phase = "ended"
)

// Status is the outcome of a login for the promotion, as the Earlybird response
// header reports it.
type Status string

// The statuses of a login. Only StatusGranted comes with a rank.
const (
	StatusGranted Status = "granted" // the user holds a grant
	StatusFull    Status = "full"    // no grant yet: on the waiting list, or past it
	StatusNone    Status = "none"    // no campaign, or none that has opened
	StatusPaused  Status = "paused"  // logins do not count for now
	StatusEnded   Status = "ended"   // the campaign is over and the user holds no grant of it
	StatusPending Status = "pending" // the login counted; the edge cannot read the result yet
	StatusRetry   Status = "retry"   // the login may not have counted: log in again
)

// The standings that GET /promotion reports in addition to the statuses.
const (
	StandingOpen         = "open"         // no place yet, and there are free ones: log in again to take one
	StandingDisqualified = "disqualified" // the grant was voided
)

// Limits of a campaign's settings.
const (
	DefaultWaitlist = 10_000
	MaxPlaces       = 500_000 // slots and waiting list together
	maxName         = 100     // code points
	maxDescription  = 500     // code points
	maxDiscount     = 100     // percent
	maxUsers        = 500     // users in one arrive entry
)

// Settings are what an operator chooses for a campaign.
type Settings struct {
	Name        string
	Description string
	Discount    int64     // percent, 0 to 100
	Slots       int64     // the most users who can hold the discount
	Waitlist    int64     // how many more users keep a place in line
	StartsAt    time.Time // earlier logins do not count
	EndsAt      time.Time // logins from then on do not count; zero: open until an operator ends it
	Rehearsal   bool      // its winners are test accounts; it never changes
}

// DiscountOf is the discount in percent of the user with a rank. It is the one
// place that decides it.
func (s Settings) DiscountOf(_ int64) int64 { return s.Discount }

// InvalidError reports an invalid setting and what would be valid.
type InvalidError struct {
	Field  string // the name of the command-line flag, such as "slots"
	Reason string
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Reason }

// Validate reports every fault of the settings, joined; each is an
// *InvalidError.
func (s Settings) Validate() error {
	var faults []error
	invalid := func(field, format string, args ...any) {
		faults = append(faults, &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)})
	}
	checkText := func(field, text string, least, most int) {
		switch n := utf8.RuneCountInString(text); {
		case !utf8.ValidString(text):
			invalid(field, "must be UTF-8")
		case n < least || n > most:
			invalid(field, "must be %d to %d characters, not %d", least, most, n)
		case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
			invalid(field, "must be one line without control characters")
		}
	}
	checkText("name", s.Name, 1, maxName)
	checkText("description", s.Description, 0, maxDescription)
	if s.Discount < 0 || s.Discount > maxDiscount {
		invalid("discount", "must be 0 to %d percent, not %d", maxDiscount, s.Discount)
	}
	switch {
	case s.Slots < 1:
		invalid("slots", "must be at least 1, not %d", s.Slots)
	case s.Waitlist < 0:
		invalid("waitlist", "must be at least 0, not %d", s.Waitlist)
	case s.Slots > MaxPlaces || s.Waitlist > MaxPlaces || s.Slots+s.Waitlist > MaxPlaces:
		invalid("slots", "slots and waitlist together must be %d at most", MaxPlaces)
	}
	if !s.EndsAt.IsZero() && !s.EndsAt.After(s.StartsAt) {
		invalid("ends", "must be after the start, %s", s.StartsAt.UTC().Format(time.RFC3339))
	}
	return errors.Join(faults...)
}

// Errors of the domain; compare with errors.Is.
var (
	// ErrNoCampaign: there is no campaign to act on.
	ErrNoCampaign = errors.New("there is no campaign")
	// ErrRefused: the campaign is not in a phase that allows this.
	ErrRefused = errors.New("refused")
)

// Place is the position of an entry in the history of all campaigns. Places are
// ordered by epoch, then by sequence number.
type Place struct {
	Epoch int64 // of the campaign's log; 0: before the first campaign
	Seq   int64 // of the entry; -1: before the first entry
}

// Before reports whether p is earlier than q.
func (p Place) Before(q Place) bool {
	return p.Epoch < q.Epoch || p.Epoch == q.Epoch && p.Seq < q.Seq
}

// String returns "<epoch>:<seq>".
func (p Place) String() string { return fmt.Sprintf("%d:%d", p.Epoch, p.Seq) }

// ParsePlace reads what String returns.
func ParsePlace(text string) (Place, error) {
	epoch, seq, ok := strings.Cut(text, ":")
	e, err1 := strconv.ParseInt(epoch, 10, 64)
	s, err2 := strconv.ParseInt(seq, 10, 64)
	p := Place{Epoch: e, Seq: s}
	if !ok || err1 != nil || err2 != nil || e < 0 || s < 0 || p.String() != text {
		return Place{}, fmt.Errorf("place must be epoch:seq, such as 1048576:17")
	}
	return p, nil
}

// epochs is the number of epochs reserved for each campaign number: 2^20.
const epochs = 1 << 20

// Grant is one user's right to the discount.
type Grant struct {
	Campaign  int64
	UserID    string
	Rank      int64 // the user's position; 1 for the first
	GrantedAt time.Time
}
