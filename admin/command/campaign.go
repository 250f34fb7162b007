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
)

func campaignCommand() *cli.Command {
	return &cli.Command{
		Name:  "campaign",
		Usage: "start, watch and end campaigns",
		Subcommands: []*cli.Command{
			leaf("start", "start a campaign: the first who log in get the discount",
				"earlybird campaign start --name Launch --slots 100 --discount 30 --ends 2026-12-24T18:00:00+01:00",
				campaignStart, changeFlags(
					&cli.StringFlag{Name: "name", Usage: "`NAME` that users see (required)"},
					&cli.Int64Flag{Name: "slots", Usage: "`NUMBER` of users who get the discount (required)"},
					&cli.Int64Flag{Name: "discount", Usage: "the discount in `PERCENT`, 0 to 100 (required)"},
					&cli.StringFlag{Name: "description", Usage: "`TEXT` that users see"},
					&cli.Int64Flag{Name: "waitlist", Value: campaign.DefaultWaitlist, Usage: "`NUMBER` of users after them whose order is kept, for when slots are raised"},
					&cli.StringFlag{Name: "starts", Usage: "`TIME` from which logins count, as RFC 3339 says (default: at once)"},
					&cli.StringFlag{Name: "ends", Usage: "`TIME` from which they no longer do (default: when it is ended by hand)"},
				)...),
			leaf("status", "show how the campaign goes", "earlybird campaign status --output json", campaignStatus, readFlags()...),
			leaf("winners", "list who was granted the discount, by rank",
				"earlybird campaign winners --campaign 1 --output csv", campaignWinners,
				readFlags(&cli.StringFlag{Name: "campaign", Usage: "`ID` of the campaign (default: the newest)"})...),
			leaf("pause", "stop logins from counting", "earlybird campaign pause --yes", campaignPause, changeFlags()...),
			leaf("resume", "make logins count again", "earlybird campaign resume --yes", campaignResume, changeFlags()...),
			leaf("extend", "raise the slots; those who were turned away are granted first", "earlybird campaign extend --slots 150",
				campaignExtend, changeFlags(&cli.Int64Flag{Name: "slots", Usage: "`NUMBER` of users who get the discount, more than now (required)"})...),
			leaf("end", "end the campaign for good; who was granted keeps the discount until the next one", "earlybird campaign end",
				campaignEnd, changeFlags()...),
		},
	}
}

func readFlags(more ...cli.Flag) []cli.Flag {
	return append(append(more, outputFlag()), storeFlags()...)
}

func changeFlags(more ...cli.Flag) []cli.Flag { return readFlags(append(more, yesFlag())...) }

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
	return change(c, announcement(request), func(ctx context.Context, a *campaign.Admin) (campaign.Change, error) {
		done, err := a.Start(ctx, request)
		return done, flagFault(err)
	})
}

// announcement says what a start will do.
func announcement(r campaign.StartRequest) string {
	from, until := "now", "it is ended by hand"
	if !r.StartsAt.IsZero() {
		from = r.StartsAt.Format(time.RFC3339)
	}
	if !r.EndsAt.IsZero() {
		until = r.EndsAt.Format(time.RFC3339)
	}
	return fmt.Sprintf("This starts the campaign %q: the first %d who log in get %d %% off, from %s until %s.",
		r.Name, r.Slots, r.Discount, from, until)
}

// flagFault makes a usage error of what a flag's value alone is to blame for.
func flagFault(err error) error {
	var invalid *campaign.InvalidError
	if errors.As(err, &invalid) && invalid.Field != "campaign" && invalid.Field != "status" {
		return usage("--%w", err)
	}
	return err
}

// timeFlag reads a flag that holds a time; zero when it is not given.
func timeFlag(c *cli.Context, name string) (time.Time, error) {
	if c.String(name) == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, c.String(name))
	if err != nil {
		return time.Time{}, fmt.Errorf("--%s: %q is not a time as RFC 3339 writes it, such as 2026-12-24T18:00:00+01:00", name, c.String(name))
	}
	return at, nil
}

func campaignPause(c *cli.Context) error {
	return change(c, "This pauses the campaign: logins no longer count until it is resumed.",
		func(ctx context.Context, a *campaign.Admin) (campaign.Change, error) { return a.Pause(ctx) })
}

func campaignResume(c *cli.Context) error {
	return change(c, "This resumes the campaign: logins count again.",
		func(ctx context.Context, a *campaign.Admin) (campaign.Change, error) { return a.Resume(ctx) })
}

func campaignExtend(c *cli.Context) error {
	if err := required(c, "slots"); err != nil {
		return err
	}
	slots := c.Int64("slots")
	if slots < 1 || slots > campaign.MaxSlots {
		return usage("--slots: must be between 1 and %d", campaign.MaxSlots)
	}
	return change(c, fmt.Sprintf("This raises the campaign to %d slots. Those who were turned away are granted first; it cannot be taken back.", slots),
		func(ctx context.Context, a *campaign.Admin) (campaign.Change, error) { return a.Extend(ctx, slots) })
}

func campaignEnd(c *cli.Context) error {
	return change(c, "This ends the campaign for good: no new grants. Who was granted keeps the discount until the next campaign starts.",
		func(ctx context.Context, a *campaign.Admin) (campaign.Change, error) { return a.End(ctx) })
}

// change says what will be done, asks, does it, and shows how the campaign
// stands then.
func change(c *cli.Context, what string, do func(context.Context, *campaign.Admin) (campaign.Change, error)) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	if err := noArguments(c); err != nil {
		return err
	}
	if err := confirm(c, "%s", what); err != nil {
		return err
	}
	s, err := open(c)
	if err != nil {
		return err
	}
	defer s.close(c.Context)
	admin := s.admin()
	done, err := do(c.Context, admin)
	if err != nil {
		return err
	}
	if !done.Live {
		say(c.App.ErrWriter, "%s\n", "It is decided and stored. Redis does not follow yet: the identity service makes it, once Redis answers.")
	}
	progress, err := admin.Status(c.Context)
	if err != nil {
		return showDecided(c, f, done.Campaign)
	}
	return showStatus(c, f, progress)
}

// statusColumns are what `campaign status` shows.
var statusColumns = columns("id name discount slots granted remaining waiting status starts_at ends_at")

func columns(names string) []output.Column {
	var all []output.Column
	for name := range strings.FieldsSeq(names) {
		all = append(all, output.Column{Name: name})
	}
	return all
}

func showStatus(c *cli.Context, f output.Format, p campaign.Progress) error {
	return output.One(c.App.Writer, f, statusColumns,
		p.ID, p.Name, p.Discount, p.Slots, p.Granted, p.Remaining, p.Waiting, string(p.Status), p.StartsAt, p.EndsAt)
}

// showDecided shows a campaign whose progress cannot be read.
func showDecided(c *cli.Context, f output.Format, d campaign.Campaign) error {
	return output.One(c.App.Writer, f, statusColumns,
		d.ID, d.Name, d.Discount, d.Slots, nil, nil, nil, string(d.StatusAt(time.Now())), d.StartsAt, d.EndsAt)
}

func campaignStatus(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	if err := noArguments(c); err != nil {
		return err
	}
	s, err := open(c)
	if err != nil {
		return err
	}
	defer s.close(c.Context)
	progress, err := s.admin().Status(c.Context)
	if err != nil {
		return err
	}
	if progress.Restoring {
		say(c.App.ErrWriter, "%s\n", "Redis is being restored: the numbers are the ledger's, and logins are counted later.")
	}
	return showStatus(c, f, progress)
}

func campaignWinners(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	if err := noArguments(c); err != nil {
		return err
	}
	s, err := open(c)
	if err != nil {
		return err
	}
	defer s.close(c.Context)
	return writeWinners(c, s.admin(), f)
}

func writeWinners(c *cli.Context, admin *campaign.Admin, f output.Format) error {
	list := output.List(c.App.Writer, f, columns("rank user_id username granted_at")...)
	id := c.String("campaign")
	for w, err := range admin.Winners(c.Context, id) {
		if errors.Is(err, campaign.ErrNoCampaign) && id != "" {
			return withHint(fmt.Errorf("there is no campaign %q", id), "campaigns are numbered 1, 2, 3, ...; without --campaign it is the newest")
		}
		if err != nil {
			return err
		}
		if err := list.Row(w.Rank, w.UserID, w.Username, w.GrantedAt); err != nil {
			return err
		}
	}
	return list.Close()
}
