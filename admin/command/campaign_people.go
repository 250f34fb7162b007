package command

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/mongostore"
)

func reasonFlag() cli.Flag {
	return &cli.StringFlag{Name: "reason", Usage: "`WHY`, for the record, which the user does not see (required)"}
}

// maxReason is the longest reason, in characters, that is put on record.
const maxReason = 500

func reason(c *cli.Context) (string, error) {
	if err := required(c, "reason"); err != nil {
		return "", err
	}
	text := c.String("reason")
	if strings.TrimSpace(text) == "" || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || utf8.RuneCountInString(text) > maxReason {
		return "", usage("--reason: must be 1 to %d characters on one line", maxReason)
	}
	return text, nil
}

func campaignDisqualify(c *cli.Context) error {
	return judge(c, "campaign disqualify", campaign.Void, func(f *campaign.Fold, name string, position int64) string {
		what := fmt.Sprintf("This disqualifies %q, at position %d of %s. A grant ends at every gateway within a second; the place is kept on record.", name, position, describe(f))
		if position <= f.Limit() && f.Waiting() > 0 {
			what += " The next in line is granted."
		}
		return what
	})
}

func campaignReinstate(c *cli.Context) error {
	return judge(c, "campaign reinstate", campaign.Reinstate, func(f *campaign.Fold, name string, position int64) string {
		what := fmt.Sprintf("This gives %q the position %d of %s back.", name, position, describe(f))
		if position <= f.Limit() && f.Limit() <= f.Last() {
			what += " If the grant has passed on to another, who keeps it, the campaign gets one slot more."
		}
		return what
	})
}

// judge changes whether one user's place in the campaign in force counts.
func judge(c *cli.Context, name string, change func(user string) campaign.Change, what func(f *campaign.Fold, username string, position int64) string) error {
	f, err1 := format(c)
	why, err2 := reason(c)
	who, err3 := username(c)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	s, err := open(c)
	if err != nil {
		return err
	}
	defer s.close(c.Context)
	log, err := s.campaigns().Read(c.Context)
	switch {
	case err != nil:
		return err
	case log.InForce() == nil:
		return withHint(campaign.ErrNoCampaign, "only a campaign that has started has places")
	}
	id, shown, err := s.placed(c.Context, log.InForce(), who)
	if err != nil {
		return err
	}
	return s.propose(c, f, proposal{
		name: name, change: change(id),
		what:  func(l *campaign.Log) string { return what(l.InForce(), shown, l.InForce().Position(id)) },
		about: mongostore.Action{Campaign: log.InForce().Campaign(), UserID: id, Reason: why},
	})
}

// placed is the id of a user who is named, and how to call them: a username, or the
// id of somebody who holds a place, which is all that is left of a deleted account.
func (s *stores) placed(ctx context.Context, fold *campaign.Fold, who string) (id, shown string, err error) {
	admin, err := s.accounts()
	if err != nil {
		return "", "", err
	}
	found, err := admin.Show(ctx, who)
	switch {
	case err == nil:
		return found.ID, found.Username, nil
	case errors.Is(err, account.ErrNotFound) && fold.Position(who) > 0:
		return who, who, nil
	default:
		return "", "", noUser(who, err)
	}
}

// campaignChange changes the campaign's name, description and end.
func campaignChange(c *cli.Context) error {
	if !c.IsSet("name") && !c.IsSet("description") && !c.IsSet("ends") {
		return withHint(usage("nothing to change: give --name, --description or --ends"), `"earlybird campaign extend" raises the slots`)
	}
	var ends time.Time
	if c.String("ends") != "never" {
		var err error
		if ends, err = timeFlag(c, "ends"); err != nil {
			return &usageError{err}
		}
	}
	revise := func(s *campaign.Settings) {
		if c.IsSet("name") {
			s.Name = c.String("name")
		}
		if c.IsSet("description") {
			s.Description = c.String("description")
		}
		if c.IsSet("ends") {
			s.EndsAt = ends
		}
	}
	return propose(c, proposal{name: "campaign change", change: campaign.Revise(revise), what: func(l *campaign.Log) string {
		before := l.Latest().Settings()
		after := before
		revise(&after)
		lines := []string{fmt.Sprintf("This changes %s:", describe(l.Latest()))}
		for _, part := range []struct{ name, before, after string }{
			{"name", before.Name, after.Name},
			{"description", before.Description, after.Description},
			{"ends", endOf(before), endOf(after)},
		} {
			if part.before != part.after {
				lines = append(lines, fmt.Sprintf("  %s: %q becomes %q", part.name, part.before, part.after))
			}
		}
		return strings.Join(lines, "\n")
	}})
}

func endOf(s campaign.Settings) string {
	if s.EndsAt.IsZero() {
		return "never"
	}
	return echoed(s.EndsAt)
}

// campaignCancel ends a campaign before its start.
func campaignCancel(c *cli.Context) error {
	cancel := func(l *campaign.Log, at time.Time) (*campaign.Fold, campaign.Entry, error) {
		if f := l.Latest(); f != nil && f.Opened() {
			return nil, campaign.Entry{}, withHint(fmt.Errorf("%w: campaign %d has started", campaign.ErrRefused, f.Campaign()), `"earlybird campaign end" ends it`)
		}
		return campaign.End()(l, at)
	}
	return propose(c, proposal{name: "campaign cancel", change: cancel, what: func(l *campaign.Log) string {
		return fmt.Sprintf("This cancels %s for good, before it has started. No discount changes.", describe(l.Latest()))
	}})
}

// campaignList lists every campaign there was.
func campaignList(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	return withStores(c, func(s *stores) error {
		list := output.List(c.App.Writer, f, append(slices.Clone(statusColumns), rehearsalColumn)...)
		for fold, err := range s.folds(c.Context) {
			if fold != nil {
				if err := list.Row(append(statusRow(fold), fold.Settings().Rehearsal)...); err != nil {
					return err
				}
			}
			if err != nil {
				return errors.Join(list.Close(), err)
			}
		}
		return list.Close()
	})
}

// folds yields every campaign there was, the first one first. An error is the last
// that comes; of a damaged log the part before the damage comes with it.
func (s *stores) folds(ctx context.Context) iter.Seq2[*campaign.Fold, error] {
	return func(yield func(*campaign.Fold, error) bool) {
		admin := s.campaigns()
		for number := int64(1); ; number++ {
			fold, err := admin.Campaign(ctx, number)
			if errors.Is(err, campaign.ErrNoCampaign) {
				return
			}
			if fold != nil && fold.At().Seq < 0 {
				fold = nil
			}
			if !yield(fold, err) || err != nil {
				return
			}
		}
	}
}

var waitingColumns = columns("position user_id username since")

// campaignWaiting lists who holds a place behind the slots.
func campaignWaiting(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	return writePeople(c, output.List(c.App.Writer, f, waitingColumns...), listed(func(fold *campaign.Fold) []campaign.Grant { return slices.Collect(fold.Line()) }))
}
