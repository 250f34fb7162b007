package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/campaign"
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

// read reads the log of a campaign; 0: the newest. When the log is damaged it
// returns what comes before the damage, with the error.
func (s *stores) read(ctx context.Context, id int64) (*campaign.Fold, error) {
	if id == 0 {
		log, err := s.campaigns().Read(ctx)
		if log == nil || log.Latest() == nil && err == nil {
			return nil, errors.Join(err, noneIf(err == nil))
		}
		return log.Latest(), err
	}
	fold, err := s.campaigns().Campaign(ctx, id)
	if errors.Is(err, campaign.ErrNoCampaign) {
		return nil, withHint(fmt.Errorf("there is no campaign %d", id), "campaigns are numbered 1, 2, 3, ...; without --campaign it is the newest")
	}
	return fold, err
}

func noneIf(none bool) error {
	if none {
		return campaign.ErrNoCampaign
	}
	return nil
}

func campaignStatus(c *cli.Context) error {
	f, err1 := format(c)
	id, err2 := which(c)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return withStores(c, func(s *stores) error {
		fold, err := s.read(c.Context, id)
		if fold == nil {
			return err
		}
		return errors.Join(showStatus(c, f, fold), err)
	})
}

func campaignWinners(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	return writePeople(c, output.List(c.App.Writer, f, winnerColumns...), winners)
}

// exportFlag chooses the format of an export.
func exportFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: string(output.CSV), Usage: "`FORMAT` of the rows: csv, or json for one object per line"}
}

// campaignExport writes the winners, or the log, for other programs.
func campaignExport(c *cli.Context) error {
	if c.Bool("log") {
		return exportLog(c)
	}
	list, err := exporter(c.App.Writer, c.String("output"))
	if err != nil {
		return err
	}
	return writePeople(c, list, winners)
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

// namesAtOnce is how many usernames are looked up before their rows are
// written.
const namesAtOnce = 500

// winners are who holds the grant, by rank.
func winners(fold *campaign.Fold) []campaign.Grant {
	var all []campaign.Grant
	for rank := int64(1); rank <= min(fold.Limit(), fold.Last()); rank++ {
		if g, ok := fold.Grant(rank); ok {
			all = append(all, g)
		}
	}
	return all
}

// writePeople writes people of a campaign with their names. Of a damaged log it
// writes what comes before the damage, and fails.
func writePeople(c *cli.Context, list output.Writer, of func(*campaign.Fold) []campaign.Grant) error {
	id, err := which(c)
	if err != nil {
		return err
	}
	return withStores(c, func(s *stores) error {
		fold, damage := s.read(c.Context, id)
		if fold == nil {
			return damage
		}
		if fold.Settings().Rehearsal {
			say(c.App.ErrWriter, "Campaign %d was a rehearsal: nobody here is a winner.\n", fold.Campaign())
		}
		rows := 0
		incomplete := func(err error) error {
			if err != nil && rows > 0 {
				return fmt.Errorf("the list is incomplete, it broke off after %s: %w", count(int64(rows), "row"), err)
			}
			return err
		}
		for batch := range slices.Chunk(of(fold), namesAtOnce) {
			ids := make([]string, len(batch))
			for i, g := range batch {
				ids[i] = g.UserID
			}
			names, err := s.mongo.Usernames(c.Context, ids)
			if err != nil {
				return incomplete(err)
			}
			for _, g := range batch {
				if err := list.Row(g.Rank, g.UserID, names[g.UserID], g.GrantedAt); err != nil {
					return err
				}
				rows++
			}
		}
		if err := list.Close(); err != nil {
			return err
		}
		return incomplete(damage)
	})
}

// exportLog writes the campaign's entries, a line each. They chain: anyone
// with the lines can check them.
func exportLog(c *cli.Context) error {
	id, err := which(c)
	if err != nil {
		return err
	}
	if c.IsSet("output") && c.String("output") != string(output.JSON) {
		return usage("--output: the log is written as json")
	}
	return withStores(c, func(s *stores) error {
		fold, damage := s.read(c.Context, id)
		if fold == nil {
			return damage
		}
		for _, e := range fold.Entries() {
			line, err := e.MarshalJSON()
			if err != nil {
				return err
			}
			if _, err := c.App.Writer.Write(append(line, '\n')); err != nil {
				return err
			}
		}
		return damage
	})
}
