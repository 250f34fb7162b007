package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/mongostore"
)

// proposal is a change of the campaign: what is shown, and what is appended to
// the log when the person agrees.
type proposal struct {
	name   string // as typed
	change campaign.Change
	what   func(l *campaign.Log) string // what the change will do
	about  mongostore.Action            // what the record says beside that
}

func campaignStart(c *cli.Context) error {
	if err := required(c, "name", "slots", "discount"); err != nil {
		return err
	}
	slots, err1 := number(c, "slots")
	discount, err2 := number(c, "discount")
	waitlist, err3 := number(c, "waitlist")
	starts, err4 := timeFlag(c, "starts")
	ends, err5 := timeFlag(c, "ends")
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return &usageError{err}
	}
	settings := campaign.Settings{
		Name: c.String("name"), Description: c.String("description"), Discount: discount,
		Slots: slots, Waitlist: waitlist, StartsAt: starts, EndsAt: ends,
	}
	begins := settings
	if now := time.Now(); begins.StartsAt.Before(now) {
		begins.StartsAt = now
	}
	if err := begins.Validate(); err != nil {
		return flagFaults(err)
	}
	return propose(c, proposal{
		name: "campaign start", change: campaign.Start(settings),
		what: func(l *campaign.Log) string { return announcement(l, settings) },
	})
}

// announcement says what a start will do, and who loses a discount by it.
func announcement(l *campaign.Log, s campaign.Settings) string {
	from, until, number := "now", "it is ended by hand", int64(1)
	if s.StartsAt.After(time.Now()) {
		from = echoed(s.StartsAt)
	}
	if !s.EndsAt.IsZero() {
		until = echoed(s.EndsAt)
	}
	if l.Latest() != nil {
		number = l.Latest().Campaign() + 1
	}
	what := fmt.Sprintf("This starts campaign %d %q: the first %s to log in %s %d %% off, from %s until %s.",
		number, s.Name, first(s.Slots), verb(s.Slots, "gets", "get"), s.Discount, from, until)
	if f := l.InForce(); f != nil && f.Granted() > 0 && !f.Settings().Rehearsal {
		what += fmt.Sprintf("\nFrom then on the %s of campaign %d %q no longer %s the discount of %d %%; the log keeps who they are.",
			count(f.Granted(), "winner"), f.Campaign(), f.Settings().Name, verb(f.Granted(), "has", "have"), f.Settings().Discount)
	}
	return what
}

// flagFaults makes a usage error of settings that cannot be.
func flagFaults(err error) error {
	var faults []string
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, fault := range all {
		faults = append(faults, "--"+fault.Error())
	}
	return withHint(usage("%s", strings.Join(faults, "\n")), `"earlybird campaign start --help" has an example`)
}

func campaignPause(c *cli.Context) error {
	return propose(c, proposal{name: "campaign pause", change: campaign.Pause(), what: func(l *campaign.Log) string {
		return fmt.Sprintf("This pauses %s: logins no longer count until it is resumed.", describe(l.Latest()))
	}})
}

func campaignResume(c *cli.Context) error {
	return propose(c, proposal{name: "campaign resume", change: campaign.Resume(), what: func(l *campaign.Log) string {
		return fmt.Sprintf("This resumes %s: logins count again.", describe(l.Latest()))
	}})
}

func campaignExtend(c *cli.Context) error {
	if err := required(c, "slots"); err != nil {
		return err
	}
	slots, err := number(c, "slots")
	if err != nil {
		return err
	}
	if slots < 1 || slots > campaign.MaxPlaces {
		return usage("--slots: must be 1 to %d, not %d", campaign.MaxPlaces, slots)
	}
	return propose(c, proposal{
		name: "campaign extend", change: campaign.Revise(func(s *campaign.Settings) { s.Slots = slots }),
		what: func(l *campaign.Log) string {
			f := l.Latest()
			what := fmt.Sprintf("This raises %s from %d to %s.", describe(f), f.Settings().Slots, count(slots, "slot"))
			if n := min(f.Waiting(), slots-f.Granted()); n > 0 {
				what += fmt.Sprintf(" The first %s in line %s granted at once, in the order of their logins.", first(n), verb(n, "is", "are"))
			}
			return what + " It cannot be taken back."
		},
	})
}

func campaignEnd(c *cli.Context) error {
	return propose(c, proposal{name: "campaign end", change: campaign.End(), what: func(l *campaign.Log) string {
		f := l.Latest()
		if !f.Opened() {
			return fmt.Sprintf("This cancels %s for good, before it has started.", describe(f))
		}
		return fmt.Sprintf("This ends %s for good: no new grants. Winners keep the discount until the next campaign starts.", describe(f))
	}})
}

// propose reads the log, shows what the change will do, asks, appends it on
// record, and shows how the campaign is then.
func propose(c *cli.Context, p proposal) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	return withStores(c, func(s *stores) error { return s.propose(c, f, p) })
}

func (s *stores) propose(c *cli.Context, f output.Format, p proposal) error {
	admin := s.campaigns()
	log, err := admin.Read(c.Context)
	if err != nil {
		return err
	}
	if err := admin.Try(p.change); err != nil {
		return err
	}
	if err := confirm(c, "%s", p.what(log)); err != nil {
		return err
	}
	var done campaign.Committed
	act := p.about
	act.Name = p.name
	if act.Campaign == 0 {
		act.Campaign = aimedAt(log, p.name)
	}
	err = recorded(c, s, act, func(ctx context.Context, a *mongostore.Action) error {
		var err error
		if done, err = admin.Commit(ctx, p.change); err == nil {
			a.Entry = done.Entry.DocumentID()
		}
		return err
	})
	if err != nil {
		return err
	}
	if done.Mirror != nil {
		say(c.App.ErrWriter, "It is decided and in the log. Redis does not have it yet, so the gateways do not know; the identity service fills it as soon as it answers (%s).\n", brief(done.Mirror))
	}
	shown := log.Latest()
	if p.about.Campaign != 0 {
		shown = log.InForce()
	}
	return showStatus(c, f, shown)
}

// aimedAt is the number of the campaign that a change is about.
func aimedAt(l *campaign.Log, name string) int64 {
	latest := int64(0)
	if l.Latest() != nil {
		latest = l.Latest().Campaign()
	}
	if name == "campaign start" {
		return latest + 1
	}
	return latest
}

// count is a number of things: 1 user, 2 users.
func count(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	if thing == "entry" {
		thing = "entrie"
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// first completes "the first": user, or 5 users.
func first(n int64) string {
	if n == 1 {
		return "user"
	}
	return count(n, "user")
}

func verb(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
