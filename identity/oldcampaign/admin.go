package campaign

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/earlybird/earlybird/identity/outage"
)

// Usernames finds the names of users.
type Usernames interface {
	// Usernames returns the usernames as typed, by user id; a user who is
	// unknown is left out.
	Usernames(ctx context.Context, userIDs []string) (map[string]string, error)
}

// AdminConfig configures an Admin.
type AdminConfig struct {
	Ledger Ledger
	Board  *Board
	Users  Usernames
	By     string // who makes the changes, kept with each version
	Now    func() time.Time
}

// Admin starts campaigns, changes them and reads how they go. A change is
// decided in MongoDB by the insert of the next version; Redis follows.
type Admin struct {
	cfg AdminConfig
}

// NewAdmin returns an Admin.
func NewAdmin(cfg AdminConfig) *Admin {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Admin{cfg: cfg}
}

// Change is a change that is decided.
type Change struct {
	Campaign Campaign // the new version
	// Live is whether Redis follows it already, as far as it has to: a campaign
	// that starts later takes its place there shortly before. If not, Redis was
	// down or must be restored, and the identity service makes it follow.
	Live bool
}

// StartRequest describes a new campaign.
type StartRequest struct {
	Name        string
	Description string
	Discount    int64 // percent, 0 to 100
	Slots       int64
	Waitlist    int64     // DefaultWaitlist is a good choice
	StartsAt    time.Time // zero: at once
	EndsAt      time.Time // zero: when it is ended by hand
}

// Start begins a campaign. The one before must have ended; its grants stay in
// the ledger. Errors: *InvalidError, ErrConflict, *outage.Error.
func (a *Admin) Start(ctx context.Context, r StartRequest) (Change, error) {
	now := a.clock(ctx)
	next, err := newCampaign(r, now)
	if err != nil {
		return Change{}, err
	}
	number := int64(1)
	switch newest, err := a.cfg.Ledger.Newest(ctx); {
	case errors.Is(err, ErrNoCampaign):
	case err != nil:
		return Change{}, err
	case newest.StatusAt(now) != Ended:
		return Change{}, invalid("campaign", "campaign %s %q is %s, and there is one at a time: end it first",
			newest.ID, newest.Name, newest.StatusAt(now))
	default:
		if number, err = strconv.ParseInt(newest.ID, 10, 64); err != nil {
			return Change{}, fmt.Errorf("campaign id %q: %w", newest.ID, err)
		}
		number++
	}
	next.ID = strconv.FormatInt(number, 10)
	return a.decide(ctx, next, now)
}

// Extend raises the slots to a number. Those who were turned away are granted
// first, in the order they logged in. Errors: ErrNoCampaign, *InvalidError,
// ErrConflict, *outage.Error.
func (a *Admin) Extend(ctx context.Context, slots int64) (Change, error) {
	return a.change(ctx, func(c *Campaign) error {
		if slots <= c.Slots {
			return invalid("slots", "must be more than the %d there are: a slot that was offered is not taken back", c.Slots)
		}
		c.Slots = slots
		return checkSlots(slots)
	})
}

// Pause stops logins from counting. Errors as Extend.
func (a *Admin) Pause(ctx context.Context) (Change, error) {
	return a.change(ctx, func(c *Campaign) error {
		if c.Status == Paused {
			return invalid("status", "campaign %s is paused already", c.ID)
		}
		c.Status = Paused
		return nil
	})
}

// Resume makes logins count again. Errors as Extend.
func (a *Admin) Resume(ctx context.Context) (Change, error) {
	return a.change(ctx, func(c *Campaign) error {
		if c.Status != Paused {
			return invalid("status", "campaign %s is not paused", c.ID)
		}
		c.Status = Active
		return nil
	})
}

// End ends the campaign for good: no new grants, and who was granted keeps the
// discount until the next campaign starts. Errors as Extend.
func (a *Admin) End(ctx context.Context) (Change, error) {
	return a.change(ctx, func(c *Campaign) error {
		c.Status = Ended
		return nil
	})
}

// change makes the next version of the campaign that is under way.
func (a *Admin) change(ctx context.Context, edit func(*Campaign) error) (Change, error) {
	c, err := a.cfg.Ledger.Newest(ctx)
	if err != nil {
		return Change{}, err
	}
	now := a.clock(ctx)
	if c.StatusAt(now) == Ended {
		return Change{}, invalid("status", "campaign %s %q has ended, which is final: start a new one", c.ID, c.Name)
	}
	if err := edit(&c); err != nil {
		return Change{}, err
	}
	c.Version++
	return a.decide(ctx, c, now)
}

// decide stores the next version, which decides between two admins, and makes
// Redis follow.
func (a *Admin) decide(ctx context.Context, c Campaign, now time.Time) (Change, error) {
	c.ChangedAt, c.ChangedBy = now, a.cfg.By
	if err := a.cfg.Ledger.AddVersion(ctx, c); err != nil {
		return Change{}, err
	}
	current, err := Current(ctx, a.cfg.Ledger, now)
	if err == nil && current.ID == c.ID {
		err = a.cfg.Board.Apply(ctx, c)
	}
	if err != nil && !errors.Is(err, ErrClosed) && !outage.Is(err) {
		return Change{}, err
	}
	return Change{Campaign: c, Live: err == nil}, nil
}

// clock is the time by Redis, by which campaigns start and end: the clock of an
// admin's machine may be wrong. While Redis does not answer it has to do.
func (a *Admin) clock(ctx context.Context) time.Time {
	s, err := a.cfg.Board.Snapshot(ctx)
	if err != nil {
		return toMilli(a.cfg.Now())
	}
	return s.ServerTime
}

// Progress is how a campaign goes.
type Progress struct {
	Campaign
	Granted   int64
	Remaining int64
	Waiting   int64 // how many were turned away and would be granted if slots were raised
	// Restoring says that Redis is being restored from the ledger: the numbers
	// are the ledger's, and logins do not count until it is done.
	Restoring bool
}

// Status returns how the newest campaign goes, its Status with start and end
// taken into account. Errors: ErrNoCampaign, *outage.Error.
func (a *Admin) Status(ctx context.Context) (Progress, error) {
	c, err := a.cfg.Ledger.Newest(ctx)
	if err != nil {
		return Progress{}, err
	}
	s, err := a.cfg.Board.Snapshot(ctx)
	if err != nil {
		return Progress{}, err
	}
	c.Status = c.StatusAt(s.ServerTime)
	if current, err := Current(ctx, a.cfg.Ledger, s.ServerTime); err != nil {
		return Progress{}, err
	} else if current.ID != c.ID {
		return Progress{Campaign: c, Remaining: c.Slots}, nil
	}
	if !s.Verified || s.Campaign.ID != c.ID {
		return a.fromLedger(ctx, c)
	}
	granted := min(s.Last, c.Slots)
	return Progress{Campaign: c, Granted: granted, Remaining: c.Slots - granted, Waiting: s.Last - granted}, nil
}

func (a *Admin) fromLedger(ctx context.Context, c Campaign) (Progress, error) {
	p := Progress{Campaign: c, Restoring: true}
	for _, err := range a.cfg.Ledger.Grants(ctx, c.ID) {
		if err != nil {
			return Progress{}, err
		}
		p.Granted++
	}
	for w, err := range a.cfg.Ledger.Waiting(ctx, c.ID) {
		if err != nil {
			return Progress{}, err
		}
		if w.Position > c.Slots {
			p.Waiting++
		}
	}
	p.Remaining = c.Slots - p.Granted
	return p, nil
}

// Winner is a grant and whose it is.
type Winner struct {
	Grant
	Username string // empty when the account is gone
}

// winnersBatch is how many usernames are looked up together.
const winnersBatch = 256

// Winners yields who was granted in a campaign, in the order of ranks, from
// the ledger; an empty id means the newest campaign. The error that ends it
// is ErrNoCampaign or an *outage.Error.
func (a *Admin) Winners(ctx context.Context, campaignID string) iter.Seq2[Winner, error] {
	return func(yield func(Winner, error) bool) {
		id, err := a.resolve(ctx, campaignID)
		if err != nil {
			yield(Winner{}, err)
			return
		}
		batch := make([]Grant, 0, winnersBatch)
		for g, err := range a.cfg.Ledger.Grants(ctx, id) {
			if err != nil {
				yield(Winner{}, err)
				return
			}
			if batch = append(batch, g); len(batch) == winnersBatch {
				if !a.yieldWinners(ctx, batch, yield) {
					return
				}
				batch = batch[:0]
			}
		}
		a.yieldWinners(ctx, batch, yield)
	}
}

func (a *Admin) resolve(ctx context.Context, campaignID string) (string, error) {
	if campaignID == "" {
		c, err := a.cfg.Ledger.Newest(ctx)
		return c.ID, err
	}
	c, err := a.cfg.Ledger.Campaign(ctx, campaignID)
	return c.ID, err
}

func (a *Admin) yieldWinners(ctx context.Context, grants []Grant, yield func(Winner, error) bool) bool {
	if len(grants) == 0 {
		return true
	}
	ids := make([]string, len(grants))
	for i, g := range grants {
		ids[i] = g.UserID
	}
	names, err := a.cfg.Users.Usernames(ctx, ids)
	if err != nil {
		yield(Winner{}, err)
		return false
	}
	for _, g := range grants {
		if !yield(Winner{Grant: g, Username: names[g.UserID]}, nil) {
			return false
		}
	}
	return true
}
