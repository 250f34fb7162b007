package command

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/campaign"
)

func campaignCommand() *cli.Command {
	return &cli.Command{
		Name:        "campaign",
		Usage:       "start, watch, audit and end campaigns",
		Description: "Example:\n\n   earlybird campaign status",
		Subcommands: append(campaignChanges(), campaignReads()...),
	}
}

// defaultWaitlist is how many users after the slots keep their place in line.
const defaultWaitlist = 10_000

// campaignChanges are the commands that change a campaign.
func campaignChanges() []*cli.Command {
	return []*cli.Command{
		leaf("start", "start a campaign: the first who log in get the discount",
			"earlybird campaign start --name Launch --slots 100 --discount 30 --ends 2126-12-24T18:00:00+01:00",
			campaignStart, changeFlags(
				&cli.StringFlag{Name: "name", Usage: "`NAME` that users see (required)"},
				&cli.StringFlag{Name: "slots", Usage: "`NUMBER` of users who get the discount (required)"},
				&cli.StringFlag{Name: "discount", Usage: "the discount in `PERCENT`, 0 to 100 (required)"},
				&cli.StringFlag{Name: "description", Usage: "`TEXT` that users see"},
				&cli.StringFlag{Name: "waitlist", Value: strconv.Itoa(defaultWaitlist), DefaultText: strconv.Itoa(defaultWaitlist), Usage: "`NUMBER` of users after them whose order is kept, for when slots are raised"},
				&cli.StringFlag{Name: "starts", Usage: "`TIME` from which logins count (default: now)"},
				&cli.StringFlag{Name: "ends", Usage: "`TIME` from which logins no longer count (default: until you end it)"},
				zoneFlag(),
			)...),
		leaf("pause", "stop logins from counting", "earlybird campaign pause --yes", campaignPause, changeFlags()...),
		leaf("resume", "make logins count again", "earlybird campaign resume --yes", campaignResume, changeFlags()...),
		leaf("extend", "raise the slots; users in line are granted first", "earlybird campaign extend --slots 150",
			campaignExtend, changeFlags(&cli.StringFlag{Name: "slots", Usage: "`NUMBER` of users who get the discount, more than now (required)"})...),
		leaf("end", "end the campaign for good; winners keep the discount until the next one starts", "earlybird campaign end",
			campaignEnd, changeFlags()...),
		leaf("change", "change the campaign's name, description or end", "earlybird campaign change --ends 2126-12-31T18:00 --tz Europe/Berlin",
			campaignChange, changeFlags(
				&cli.StringFlag{Name: "name", Usage: "`NAME` that users see"},
				&cli.StringFlag{Name: "description", Usage: "`TEXT` that users see"},
				&cli.StringFlag{Name: "ends", Usage: "`TIME` from which logins no longer count, or never: until you end it"},
				zoneFlag(),
			)...),
		leaf("cancel", "cancel a campaign that has not started; no discount changes", "earlybird campaign cancel", campaignCancel, changeFlags()...),
		person("campaign disqualify", "end one user's grant; the place goes to the next in line", campaignDisqualify, changeFlags(reasonFlag())),
		person("campaign reinstate", "give a disqualified user the place back", campaignReinstate, changeFlags(reasonFlag())),
		leaf("restore", "put back into MongoDB what only Redis still has, after a backup of MongoDB was restored",
			"earlybird campaign restore", campaignRestore,
			changeFlags(&cli.BoolFlag{Name: "accept-loss", Usage: "give up what only Redis has instead of putting it back"})...),
	}
}

// campaignReads are the commands that only look.
func campaignReads() []*cli.Command {
	which := &cli.StringFlag{Name: "campaign", Usage: "`ID` of the campaign (default: the newest; if that was canceled, the one in force)"}
	return []*cli.Command{
		leaf("status", "show how the campaign goes", "earlybird campaign status --output json", campaignStatus, readFlags(which)...),
		leaf("list", "list all campaigns, the newest last", "earlybird campaign list", campaignList, readFlags()...),
		leaf("waiting", "list who waits in line, in order", "earlybird campaign waiting --output csv", campaignWaiting, readFlags(which)...),
		leaf("watch", "show how the campaign goes, live, until Ctrl-C", "earlybird campaign watch", campaignWatch,
			readFlags(append(doctorFlags(),
				&cli.DurationFlag{Name: "interval", Value: watchInterval, Usage: "`DURATION` between two readings of the log"},
				&cli.StringFlag{Name: "http", Usage: "`ADDRESS` that also serves a page for the room, such as 127.0.0.1:9180"},
				&cli.BoolFlag{Name: "listen-anywhere", Usage: "allow an --http address that other machines reach; the page's URL then has a secret in it"},
			)...)...),
		leaf("winners", "list who was granted the discount, by rank",
			"earlybird campaign winners --campaign 1 --output csv", campaignWinners, readFlags(which, voidedFlag())...),
		leaf("suspects", "list grants from one address, or of accounts registered within a minute: a hint, no verdict",
			"earlybird campaign suspects --campaign 1", campaignSuspects, readFlags(which)...),
		leaf("events", "write what the log says of each user, one JSON object per line, for a billing system",
			"earlybird campaign events --follow --from 1048576:17:0", campaignEvents, append([]cli.Flag{
				&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "wait for more, until Ctrl-C"},
				&cli.StringFlag{Name: "from", Usage: "`SEQ` of the entry, or the id of the event, to begin with (default: the campaign's first)"},
				&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: string(output.JSON), Usage: "`FORMAT` of the events: json"},
			}, storeFlags()...)...),
		leaf("audit", "check the campaign's log from its first entry, and compare it with Redis, the edges and the login audit",
			"earlybird campaign audit --campaign 1", campaignAudit, readFlags(which, edgeFlag())...),
		leaf("report", "write all that is known of a campaign into one HTML file, to read, print and check",
			"earlybird campaign report --campaign 1 --html report.html", campaignReport,
			changeFlags(which, &cli.StringFlag{Name: "html", Usage: "`FILE` that is written, or - for the output (required)"})...),
		leaf("export", "write all winners, however many, as CSV or as JSON, one per line; or the campaign's log",
			"earlybird campaign export --campaign 1 > winners.csv", campaignExport,
			append([]cli.Flag{which, exportFlag(), voidedFlag(), &cli.BoolFlag{Name: "log", Usage: "the log itself, one entry per line as JSON, for an auditor"}}, storeFlags()...)...),
	}
}

func readFlags(more ...cli.Flag) []cli.Flag {
	return append(append(more, outputFlag()), storeFlags()...)
}

func changeFlags(more ...cli.Flag) []cli.Flag { return readFlags(append(more, yesFlag(), asFlag())...) }

// statusColumns are what `campaign status` shows.
var statusColumns = columns("id name discount slots granted remaining waiting status starts_at ends_at")

// rehearsalColumn says whether a campaign is a rehearsal.
var rehearsalColumn = output.Column{Name: "rehearsal"}

func columns(names string) []output.Column {
	var all []output.Column
	for name := range strings.FieldsSeq(names) {
		all = append(all, output.Column{Name: name})
	}
	return all
}

func statusRow(fold *campaign.Fold) []any {
	s := fold.Settings()
	return []any{
		campaignID(fold), s.Name, s.Discount, s.Slots,
		fold.Granted(), s.Slots - fold.Granted(), fold.Waiting(), statusOf(fold), s.StartsAt, s.EndsAt,
	}
}

// showStatus adds to a rehearsal, and to no other campaign, that it is one.
func showStatus(c *cli.Context, f output.Format, fold *campaign.Fold) error {
	shown, row := statusColumns, statusRow(fold)
	if fold.Settings().Rehearsal {
		shown, row = append(slices.Clone(shown), rehearsalColumn), append(row, true)
	}
	return output.One(c.App.Writer, f, shown, row...)
}

func campaignID(f *campaign.Fold) string { return strconv.FormatInt(f.Campaign(), 10) }

// statusOf names a campaign's phase as the command line does: one that is open
// is active.
func statusOf(f *campaign.Fold) string {
	if f.Phase() == campaign.PhaseOpen {
		return "active"
	}
	return string(f.Phase())
}

// describe names a campaign and says how it stands.
func describe(f *campaign.Fold) string {
	s, what := f.Settings(), ""
	if s.Rehearsal {
		what = "a rehearsal, "
	}
	return fmt.Sprintf("campaign %d %q (%s%s, %d of %d granted, %d waiting)",
		f.Campaign(), s.Name, what, statusOf(f), f.Granted(), s.Slots, f.Waiting())
}

// number reads a flag that holds a decimal number.
func number(c *cli.Context, name string) (int64, error) {
	n, err := strconv.ParseInt(c.String(name), 10, 64)
	if err != nil {
		return 0, usage("--%s: %q is not a number: write it with decimal digits alone, such as %s", name, c.String(name),
			cmp.Or(map[string]string{"discount": "30"}[name], "100"))
	}
	return n, nil
}

// which is the campaign that --campaign names; 0: the newest.
func which(c *cli.Context) (int64, error) {
	if !c.IsSet("campaign") {
		return 0, nil
	}
	n, err := strconv.ParseInt(c.String("campaign"), 10, 64)
	if err != nil || n < 1 {
		return 0, withHint(usage("--campaign: %q is not the number of a campaign", c.String("campaign")), "campaigns are numbered 1, 2, 3, ...")
	}
	return n, nil
}
