package command

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/oldcampaign"
)

func campaignCommand() *cli.Command {
	return &cli.Command{
		Name:        "campaign",
		Usage:       "start, watch, audit and end campaigns",
		Description: "Example:\n\n   earlybird campaign status",
		Subcommands: append(campaignChanges(), campaignReads()...),
	}
}

// campaignChanges are the commands that change a campaign.
func campaignChanges() []*cli.Command {
	return []*cli.Command{
		leaf("start", "start a campaign: the first who log in get the discount",
			"earlybird campaign start --name Launch --slots 100 --discount 30 --ends 2126-12-24T18:00:00+01:00",
			campaignStart, changeFlags(
				&cli.StringFlag{Name: "name", Usage: "`NAME` that users see (required)"},
				&cli.Int64Flag{Name: "slots", Usage: "`NUMBER` of users who get the discount (required)"},
				&cli.Int64Flag{Name: "discount", Usage: "the discount in `PERCENT`, 0 to 100 (required)"},
				&cli.StringFlag{Name: "description", Usage: "`TEXT` that users see"},
				&cli.Int64Flag{Name: "waitlist", Value: campaign.DefaultWaitlist, Usage: "`NUMBER` of users after them whose order is kept, for when slots are raised"},
				&cli.StringFlag{Name: "starts", Usage: "`TIME` from which logins count, as RFC 3339 says (default: at once)"},
				&cli.StringFlag{Name: "ends", Usage: "`TIME` from which they no longer do (default: when it is ended by hand)"},
			)...),
		leaf("pause", "stop logins from counting", "earlybird campaign pause --yes", campaignPause, changeFlags()...),
		leaf("resume", "make logins count again", "earlybird campaign resume --yes", campaignResume, changeFlags()...),
		leaf("extend", "raise the slots; those who were turned away are granted first", "earlybird campaign extend --slots 150",
			campaignExtend, changeFlags(&cli.Int64Flag{Name: "slots", Usage: "`NUMBER` of users who get the discount, more than now (required)"})...),
		leaf("end", "end the campaign for good; who was granted keeps the discount until the next one", "earlybird campaign end",
			campaignEnd, changeFlags()...),
		leaf("restore", "rebuild the campaign in Redis from MongoDB", "earlybird campaign restore", campaignRestore, changeFlags()...),
	}
}

// campaignReads are the commands that only look.
func campaignReads() []*cli.Command {
	which := &cli.StringFlag{Name: "campaign", Usage: "`ID` of the campaign (default: the newest)"}
	return []*cli.Command{
		leaf("status", "show how the campaign goes", "earlybird campaign status --output json", campaignStatus, readFlags()...),
		leaf("watch", "show how the campaign goes, live, until Ctrl-C", "earlybird campaign watch", campaignWatch,
			readFlags(&cli.DurationFlag{Name: "interval", Value: watchInterval, Usage: "`TIME` between looks"})...),
		leaf("winners", "list who was granted the discount, by rank",
			"earlybird campaign winners --campaign 1 --output csv", campaignWinners, readFlags(which)...),
		leaf("audit", "compare Redis, the ledger and the login audit, and name every difference",
			"earlybird campaign audit --campaign 1", campaignAudit, readFlags(which)...),
		leaf("export", "write all winners, however many, as CSV or as JSON, one per line",
			"earlybird campaign export --campaign 1 > winners.csv", campaignExport,
			append([]cli.Flag{which, exportFlag()}, storeFlags()...)...),
	}
}

func readFlags(more ...cli.Flag) []cli.Flag {
	return append(append(more, outputFlag()), storeFlags()...)
}

func changeFlags(more ...cli.Flag) []cli.Flag { return readFlags(append(more, yesFlag(), asFlag())...) }

// statusColumns are what `campaign status` shows.
var statusColumns = columns("id name discount slots granted remaining waiting status starts_at ends_at")

func columns(names string) []output.Column {
	var all []output.Column
	for name := range strings.FieldsSeq(names) {
		all = append(all, output.Column{Name: name})
	}
	return all
}
