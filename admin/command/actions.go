package command

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/mongostore"
)

func actionsCommand() *cli.Command {
	return leaf("actions", "list who changed what, the oldest first", "earlybird actions --since -24h --by alice@bank.example", listActions, readFlags(
		&cli.StringFlag{Name: "since", Usage: "`TIME` of the first of them, such as 2126-12-24T18:00:00+01:00, or -24h: a day ago"},
		&cli.StringFlag{Name: "by", Usage: "`WHO` made the change, as it was recorded"},
		zoneFlag(),
	)...)
}

var actionColumns = columns("at by action result campaign user_id customer entry reason detail")

// listActions lists what operators did, any number of actions.
func listActions(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	since, err := sinceFlag(c)
	if err != nil {
		return &usageError{err}
	}
	if c.IsSet("by") && c.String("by") == "" {
		return usage("--by: is empty: give the name as it was recorded, such as alice@bank.example")
	}
	return withStores(c, func(s *stores) error {
		list := output.List(c.App.Writer, f, actionColumns...)
		rows := 0
		for a, err := range s.mongo.Actions(c.Context, mongostore.ActionFilter{Since: since, By: c.String("by")}) {
			if err != nil {
				return incomplete(rows, err)
			}
			if err := list.Row(a.At, a.By, a.Name, a.Result, campaignOf(a), a.UserID, a.Customer, a.Entry, a.Reason, a.Detail); err != nil {
				return err
			}
			rows++
		}
		return list.Close()
	})
}

// sinceFlag reads --since: a time as other flags take it, or one ago.
func sinceFlag(c *cli.Context) (time.Time, error) {
	text := c.String("since")
	if !strings.HasPrefix(text, "-") {
		return timeFlag(c, "since")
	}
	ago, err := time.ParseDuration(text[1:])
	if err != nil || ago < 0 {
		return time.Time{}, fmt.Errorf("--since: %q is not a time ago; write -30m, -2h or -36h", text)
	}
	return time.Now().Add(-ago), nil
}

// campaignOf is the number of the campaign that an action is about, or empty.
func campaignOf(a mongostore.Action) string {
	if a.Campaign == 0 {
		return ""
	}
	return strconv.FormatInt(a.Campaign, 10)
}
