package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/mongostore"
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

// read reads the log of a campaign; 0: the one that is meant when none is named.
// When the log is damaged it returns what comes before the damage, with the error.
func (s *stores) read(ctx context.Context, id int64) (*campaign.Fold, error) {
	if id == 0 {
		log, err := s.campaigns().Read(ctx)
		if log == nil || log.Current() == nil && err == nil {
			return nil, errors.Join(err, noneIf(err == nil))
		}
		return log.Current(), err
	}
	fold, err := s.campaigns().Campaign(ctx, id)
	if errors.Is(err, campaign.ErrNoCampaign) {
		return nil, withHint(fmt.Errorf("there is no campaign %d", id), "campaigns are numbered 1, 2, 3, ...; \"earlybird campaign list\" shows them")
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
	if c.Bool("voided") {
		return writePeople(c, output.List(c.App.Writer, f, voidedColumns...), voided)
	}
	return writePeople(c, output.List(c.App.Writer, f, winnerColumns...), listed(winners))
}

// voidedFlag chooses the disqualified instead of the winners.
func voidedFlag() cli.Flag {
	return &cli.BoolFlag{Name: "voided", Usage: "who is disqualified instead: when, by whom and why"}
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
	if c.Bool("voided") {
		list, err := exporter(c.App.Writer, c.String("output"), voidedColumns)
		if err != nil {
			return err
		}
		return writePeople(c, list, voided)
	}
	list, err := exporter(c.App.Writer, c.String("output"), winnerColumns)
	if err != nil {
		return err
	}
	return writePeople(c, list, listed(winners))
}

func exporter(w io.Writer, name string, columns []output.Column) (output.Writer, error) {
	switch output.Format(name) {
	case output.CSV:
		return output.List(w, output.CSV, columns...), nil
	case output.JSON:
		return output.Lines(w, columns...), nil
	default:
		return nil, usage("--output: %q is not a format of an export; use csv or json", name)
	}
}

var winnerColumns = columns("rank user_id username granted_at")

// namesAtOnce is how many usernames are looked up before their rows are
// written.
const namesAtOnce = 500

// noteRehearsal says it when a list of people is of a rehearsal.
func noteRehearsal(c *cli.Context, fold *campaign.Fold) {
	if fold.Settings().Rehearsal {
		say(c.App.ErrWriter, "Campaign %d was a rehearsal: nobody here is a winner.\n", fold.Campaign())
	}
}

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

// choice is whom a command lists of a campaign, and how each is written. A deleted
// account has no username.
type choice func(ctx context.Context, s *stores, fold *campaign.Fold) (people []campaign.Grant, row func(g campaign.Grant, username string) []any, err error)

// listed chooses grants, or places, that are all written alike.
func listed(of func(*campaign.Fold) []campaign.Grant) choice {
	return func(_ context.Context, _ *stores, fold *campaign.Fold) ([]campaign.Grant, func(campaign.Grant, string) []any, error) {
		return of(fold), func(g campaign.Grant, username string) []any {
			return []any{g.Rank, g.UserID, username, g.GrantedAt}
		}, nil
	}
}

var voidedColumns = columns("position user_id username disqualified_at by reason")

// voided chooses who is disqualified.
func voided(ctx context.Context, s *stores, fold *campaign.Fold) ([]campaign.Grant, func(campaign.Grant, string) []any, error) {
	why, err := s.reasons(ctx, mongostore.ActionFilter{})
	if err != nil {
		return nil, nil, err
	}
	var people []campaign.Grant
	voids := map[string]campaign.Entry{}
	for _, e := range fold.Voids() {
		voids[e.User] = e
		people = append(people, campaign.Grant{UserID: e.User, Rank: fold.Position(e.User)})
	}
	return people, func(g campaign.Grant, username string) []any {
		e := voids[g.UserID]
		return []any{g.Rank, g.UserID, username, e.At, e.By, why.of(e)}
	}, nil
}

// reasons are why users were disqualified, by the entry that did it; for a command
// that was cut off before it could record its entry, by the campaign and the user.
type reasons map[string]string

func (s *stores) reasons(ctx context.Context, f mongostore.ActionFilter) (reasons, error) {
	found := reasons{}
	for a, err := range s.mongo.Actions(ctx, f) {
		switch {
		case err != nil:
			return nil, fmt.Errorf("read reasons: %w", err)
		case a.Name == "campaign disqualify":
			found[cmp.Or(a.Entry, reasonKey(a.Campaign, a.UserID))] = a.Reason
		}
	}
	return found, nil
}

func (r reasons) of(e campaign.Entry) string {
	return cmp.Or(r[e.DocumentID()], r[reasonKey(e.Campaign, e.User)])
}

func reasonKey(number int64, user string) string { return fmt.Sprintf("%d/%s", number, user) }

// writePeople writes people of a campaign with their names. Of a damaged log it
// writes what comes before the damage, and fails.
func writePeople(c *cli.Context, list output.Writer, choose choice) error {
	id, err := which(c)
	if err != nil {
		return err
	}
	return withStores(c, func(s *stores) error {
		fold, damage := s.read(c.Context, id)
		if fold == nil {
			return damage
		}
		noteRehearsal(c, fold)
		people, row, err := choose(c.Context, s, fold)
		if err != nil {
			return err
		}
		rows := 0
		for batch := range slices.Chunk(people, namesAtOnce) {
			ids := make([]string, len(batch))
			for i, g := range batch {
				ids[i] = g.UserID
			}
			names, err := s.mongo.Usernames(c.Context, ids)
			if err != nil {
				return incomplete(rows, err)
			}
			for _, g := range batch {
				if err := list.Row(row(g, names[g.UserID])...); err != nil {
					return err
				}
				rows++
			}
		}
		if err := list.Close(); err != nil {
			return err
		}
		return incomplete(rows, damage)
	})
}

// incomplete says of an error that came after some rows that the list lacks others.
func incomplete(rows int, err error) error {
	if err != nil && rows > 0 {
		return fmt.Errorf("the list is incomplete, it broke off after %s: %w", count(int64(rows), "row"), err)
	}
	return err
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
	if c.Bool("voided") {
		return usage("--voided: the log holds everybody; give --log or --voided")
	}
	return withStores(c, func(s *stores) error {
		fold, damage := s.read(c.Context, id)
		if fold == nil {
			return damage
		}
		return errors.Join(writeLog(c.App.Writer, fold), damage)
	})
}

// writeLog writes the log, one entry a line.
func writeLog(w io.Writer, fold *campaign.Fold) error {
	for _, e := range fold.Entries() {
		line, err := e.MarshalJSON()
		if err != nil {
			return err
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}
