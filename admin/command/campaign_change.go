package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// operation is a change of the campaign.
type operation struct {
	name string // as typed
	do   func(context.Context, *campaign.Admin) (campaign.Change, error)
	// what says what will be done, from how the campaign stands now and the
	// version that will be decided.
	what func(now standing, next campaign.Campaign) string
}

// standing is how the newest campaign stands before a change.
type standing struct {
	campaign.Campaign                    // the zero Campaign when there is none
	counts            *campaign.Progress // nil when Redis cannot tell
}

func (s standing) String() string {
	if s.counts == nil {
		return fmt.Sprintf("campaign %s %q (%s)", s.ID, s.Name, s.StatusAt(time.Now()))
	}
	return fmt.Sprintf("campaign %s %q (%s, %d of %d granted, %d waiting)",
		s.ID, s.Name, s.counts.Status, s.counts.Granted, s.Slots, s.counts.Waiting)
}

func campaignStart(c *cli.Context) error {
	if err := required(c, "name", "slots", "discount"); err != nil {
		return err
	}
	starts, err1 := timeFlag(c, "starts")
	ends, err2 := timeFlag(c, "ends")
	if err := errors.Join(err1, err2); err != nil {
		return &usageError{err}
	}
	request := campaign.StartRequest{
		Name: c.String("name"), Description: c.String("description"), Discount: c.Int64("discount"),
		Slots: c.Int64("slots"), Waitlist: c.Int64("waitlist"), StartsAt: starts, EndsAt: ends,
	}
	if err := flagFault(request.Check(time.Now())); err != nil {
		return err
	}
	return change(c, operation{
		name: "campaign start",
		do: func(ctx context.Context, a *campaign.Admin) (campaign.Change, error) {
			done, err := a.Start(ctx, request)
			return done, flagFault(err)
		},
		what: announcement,
	})
}

// announcement says what a start will do.
func announcement(now standing, next campaign.Campaign) string {
	from, until := "now", "it is ended by hand"
	if next.StartsAt.After(time.Now()) {
		from = next.StartsAt.Format(time.RFC3339)
	}
	if !next.EndsAt.IsZero() {
		until = next.EndsAt.Format(time.RFC3339)
	}
	what := fmt.Sprintf("This starts campaign %s %q: the first %d who log in get %d %% off, from %s until %s.",
		next.ID, next.Name, next.Slots, next.Discount, from, until)
	if now.ID != "" {
		what += fmt.Sprintf("\nFrom %s on the winners of campaign %s %q no longer have their discount; the ledger keeps them.", from, now.ID, now.Name)
	}
	return what
}

// flagFault makes a usage error of what a flag's value alone is to blame for.
func flagFault(err error) error {
	var invalid *campaign.InvalidError
	if errors.As(err, &invalid) && invalid.Field != "campaign" && invalid.Field != "status" {
		hint := invalidHint(invalid.Field)
		if invalid.Field == "slots" { // its hint is about a campaign that there is
			hint = invalidHint("")
		}
		return withHint(usage("--%w", err), "%s", hint)
	}
	return err
}

// timeFlag reads a flag that holds a time; zero when it is not given.
func timeFlag(c *cli.Context, name string) (time.Time, error) {
	if !c.IsSet(name) {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, c.String(name))
	if err != nil || at.IsZero() { // the zero time would mean that none was given
		return time.Time{}, fmt.Errorf("--%s: %q is not a time as RFC 3339 writes it, such as 2026-12-24T18:00:00+01:00", name, c.String(name))
	}
	return at, nil
}

func campaignPause(c *cli.Context) error {
	return change(c, operation{
		name: "campaign pause",
		do:   func(ctx context.Context, a *campaign.Admin) (campaign.Change, error) { return a.Pause(ctx) },
		what: func(now standing, _ campaign.Campaign) string {
			return fmt.Sprintf("This pauses %s: logins no longer count until it is resumed.", now)
		},
	})
}

func campaignResume(c *cli.Context) error {
	return change(c, operation{
		name: "campaign resume",
		do:   func(ctx context.Context, a *campaign.Admin) (campaign.Change, error) { return a.Resume(ctx) },
		what: func(now standing, _ campaign.Campaign) string {
			return fmt.Sprintf("This resumes %s: logins count again.", now)
		},
	})
}

func campaignExtend(c *cli.Context) error {
	if err := required(c, "slots"); err != nil {
		return err
	}
	slots := c.Int64("slots")
	if slots < 1 || slots > campaign.MaxSlots {
		return usage("--slots: must be between 1 and %d", campaign.MaxSlots)
	}
	return change(c, operation{
		name: "campaign extend",
		do:   func(ctx context.Context, a *campaign.Admin) (campaign.Change, error) { return a.Extend(ctx, slots) },
		what: func(now standing, next campaign.Campaign) string {
			what := fmt.Sprintf("This raises %s from %d to %d slots.", now, now.Slots, next.Slots)
			if now.counts != nil && now.counts.Waiting > 0 {
				what += fmt.Sprintf(" Of those who were turned away the first %d are granted at once, in the order they logged in.",
					min(now.counts.Waiting, next.Slots-now.counts.Granted))
			}
			return what + " It cannot be taken back."
		},
	})
}

func campaignEnd(c *cli.Context) error {
	return change(c, operation{
		name: "campaign end",
		do:   func(ctx context.Context, a *campaign.Admin) (campaign.Change, error) { return a.End(ctx) },
		what: func(now standing, _ campaign.Campaign) string {
			return fmt.Sprintf("This ends %s for good: no new grants. Who was granted keeps the discount until the next campaign starts.", now)
		},
	})
}

// change rehearses a change, which refuses what cannot be done, says what it
// will do, asks, does it on record, and shows how the campaign stands then.
func change(c *cli.Context, op operation) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	return withStores(c, func(s *stores) error {
		seen, err := look(c.Context, s)
		if err != nil {
			return err
		}
		ledger := &rehearsal{pinned: pinned{Ledger: s.mongo, seen: seen.Campaign}}
		if _, err := op.do(c.Context, s.adminOn(ledger)); !errors.Is(err, errRehearsed) {
			return err
		}
		if err := confirm(c, "%s", op.what(seen, ledger.next)); err != nil {
			return err
		}
		var done campaign.Change
		err = recorded(c, s, op.name, ledger.next.ID, func(ctx context.Context) (string, error) {
			var err error
			done, err = op.do(ctx, s.adminOn(&pinned{Ledger: s.mongo, seen: seen.Campaign}))
			return fmt.Sprintf("version %d", done.Campaign.Version), err
		})
		if err != nil {
			return lostRace(c.Context, s, err)
		}
		return showChange(c, f, s.admin(), done)
	})
}

// look reads how the newest campaign stands.
func look(ctx context.Context, s *stores) (standing, error) {
	newest, err := s.mongo.Newest(ctx)
	if err != nil && !errors.Is(err, campaign.ErrNoCampaign) {
		return standing{}, err
	}
	seen := standing{Campaign: newest}
	if p, err := s.admin().Status(ctx); err == nil && p.Version == newest.Version {
		seen.counts = &p // without it the numbers are left out
	}
	return seen, nil
}

// lostRace says who else has decided, when somebody has.
func lostRace(ctx context.Context, s *stores, err error) error {
	if !errors.Is(err, campaign.ErrConflict) {
		return err
	}
	newest, lookErr := s.mongo.Newest(ctx)
	if lookErr != nil {
		return err
	}
	return withHint(
		fmt.Errorf("nothing was changed: %s was faster; campaign %s %q is %s now, with %d slots: %w",
			newest.ChangedBy, newest.ID, newest.Name, newest.StatusAt(time.Now()), newest.Slots, campaign.ErrConflict),
		`look at it with "earlybird campaign status", then decide again`)
}

func showChange(c *cli.Context, f output.Format, admin *campaign.Admin, done campaign.Change) error {
	if !done.Live {
		say(c.App.ErrWriter, "%s\n", "It is decided and stored. Redis does not follow yet: the identity service makes it, once Redis answers.")
	}
	progress, err := admin.Status(c.Context)
	if err != nil {
		return showDecided(c, f, done.Campaign)
	}
	return showStatus(c, f, progress)
}

// showDecided shows a campaign whose progress cannot be read.
func showDecided(c *cli.Context, f output.Format, d campaign.Campaign) error {
	return output.One(c.App.Writer, f, statusColumns,
		d.ID, d.Name, d.Discount, d.Slots, nil, nil, nil, string(d.StatusAt(time.Now())), d.StartsAt, d.EndsAt)
}
