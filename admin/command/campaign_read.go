package command

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// withStores opens the stores for a command without arguments, and closes them.
func withStores(c *cli.Context, do func(s *stores) error) error {
	if err := noArguments(c); err != nil {
		return err
	}
	s, err := open(c)
	if err != nil {
		return err
	}
	defer s.close(c.Context)
	return do(s)
}

func campaignStatus(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	return withStores(c, func(s *stores) error {
		progress, err := s.admin().Status(c.Context)
		if err != nil {
			return err
		}
		if progress.Restoring {
			say(c.App.ErrWriter, "%s\n", "Redis is being restored: the numbers are the ledger's, and logins are counted later.")
		}
		return showStatus(c, f, progress)
	})
}

func showStatus(c *cli.Context, f output.Format, p campaign.Progress) error {
	return output.One(c.App.Writer, f, statusColumns, statusValues(p)...)
}

func statusValues(p campaign.Progress) []any {
	return []any{p.ID, p.Name, p.Discount, p.Slots, p.Granted, p.Remaining, p.Waiting, string(p.Status), p.StartsAt, p.EndsAt}
}

func campaignWinners(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	return withStores(c, func(s *stores) error {
		_, err := writeWinners(c, s.admin(), output.List(c.App.Writer, f, winnerColumns...))
		return err
	})
}

// exportFlag chooses the format of an export.
func exportFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: string(output.CSV), Usage: "`FORMAT` of the rows: csv, or json for one object per line"}
}

// campaignExport writes row by row: its memory does not grow with the rows.
func campaignExport(c *cli.Context) error {
	list, err := exporter(c.App.Writer, c.String("output"))
	if err != nil {
		return err
	}
	return withStores(c, func(s *stores) error {
		rows, err := writeWinners(c, s.admin(), list)
		if err != nil && rows > 0 {
			return fmt.Errorf("the export is incomplete, it broke off after %d rows: %w", rows, err)
		}
		return err
	})
}

func exporter(w io.Writer, name string) (output.Writer, error) {
	switch output.Format(name) {
	case output.CSV:
		return output.List(w, output.CSV, winnerColumns...), nil
	case output.JSON:
		return output.Lines(w, winnerColumns...), nil
	default:
		return nil, usage("--output: %q is not a format of an export; use csv or json", name)
	}
}

var winnerColumns = columns("rank user_id username granted_at")

func writeWinners(c *cli.Context, admin *campaign.Admin, list output.Writer) (rows int, err error) {
	id := c.String("campaign")
	for w, err := range admin.Winners(c.Context, id) {
		if err != nil {
			return rows, noSuchCampaign(err, id)
		}
		if err := list.Row(w.Rank, w.UserID, w.Username, w.GrantedAt); err != nil {
			return rows, err
		}
		rows++
	}
	return rows, list.Close()
}

// noSuchCampaign says so of a campaign that was asked for by its id.
func noSuchCampaign(err error, id string) error {
	if errors.Is(err, campaign.ErrNoCampaign) && id != "" {
		return withHint(fmt.Errorf("there is no campaign %q", id), "campaigns are numbered 1, 2, 3, ...; without --campaign it is the newest")
	}
	return err
}
