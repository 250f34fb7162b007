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

// restoreColumns are what `campaign restore` shows.
var restoreColumns = columns("inserted log_ends_at given_up")

// campaignRestore puts back into the log what only the mirror has, or gives it
// up.
func campaignRestore(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	return withStores(c, func(s *stores) error {
		admin := s.campaigns()
		d, err := compare(c.Context, admin)
		if err != nil {
			return err
		}
		switch {
		case len(d.Missing) == 0 && len(d.Diverged) == 0 && d.Broken == nil && d.Lost == "":
			say(c.App.ErrWriter, "nothing to restore: Redis and the running identity services have nothing that MongoDB's log lacks\n")
			return output.One(c.App.Writer, f, restoreColumns, int64(0), placeOrNothing(d.Log), nil)
		case c.Bool("accept-loss"):
			return acceptLoss(c, s, admin, f, d)
		case len(d.Diverged) > 0 || d.Broken != nil || d.Lost != "":
			return cannotRestore(c, d)
		}
		return putBack(c, s, admin, f, d)
	})
}

// quiet is how long nothing new may have come into Redis before there is
// nothing to restore: a running identity service that remembers more than
// MongoDB fills Redis four times a second.
const quiet = 1500 * time.Millisecond

func compare(ctx context.Context, admin *campaign.Admin) (campaign.Difference, error) {
	for began := time.Now(); ; {
		d, err := admin.Compare(ctx)
		if err != nil || len(d.Missing) > 0 || len(d.Diverged) > 0 || time.Since(began) >= quiet {
			return d, err
		}
		select {
		case <-ctx.Done():
			return d, ctx.Err()
		case <-time.After(quiet / 4):
		}
	}
}

// shownEntries is how many of the entries that would be inserted are shown one
// by one.
const shownEntries = 10

func putBack(c *cli.Context, s *stores, admin *campaign.Admin, f output.Format, d campaign.Difference) error {
	var lines []string
	for _, e := range d.Missing[:min(shownEntries, len(d.Missing))] {
		lines = append(lines, "  "+entryLine(e))
	}
	if more := len(d.Missing) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("  and %d more, up to %s", more, entryLine(d.Missing[len(d.Missing)-1])))
	}
	places := 0
	for _, e := range d.Missing {
		places += len(e.Users)
	}
	if err := confirm(c, "MongoDB's log lacks %s that Redis has:\n%s\nThis inserts them as they are: %s %s back. Logins are answered with retry meanwhile.",
		count(int64(len(d.Missing)), "entry"), strings.Join(lines, "\n"), count(int64(places), "place"), verb(int64(places), "comes", "come")); err != nil {
		return err
	}
	inserted := 0
	act := mongostore.Action{Name: "campaign restore", Campaign: d.Missing[0].Campaign}
	err := recorded(c, s, act, func(ctx context.Context, a *mongostore.Action) error {
		ctx, stop := context.WithCancel(ctx) // it may be interrupted, and goes on later
		defer stop()
		defer context.AfterFunc(c.Context, stop)() //nolint:contextcheck // the command's own ends with Ctrl-C
		var err error
		inserted, err = admin.Restore(ctx, func(n int) { inserted = n })
		a.Detail = count(int64(inserted), "entry") + " inserted"
		return err
	})
	if err != nil {
		return withHint(fmt.Errorf("%s inserted, and they stay; then: %w", count(int64(inserted), "entry"), err),
			"run it again: it goes on where it ended")
	}
	log, err := admin.Read(c.Context)
	if err != nil {
		return err
	}
	return output.One(c.App.Writer, f, restoreColumns, int64(inserted), placeOrNothing(log.Latest().At()), nil)
}

// entryLine is an entry in a line.
func entryLine(e campaign.Entry) string {
	line := fmt.Sprintf("%s  %-9s  %s", e.DocumentID(), e.Kind, e.At.Format(time.RFC3339))
	if len(e.Users) > 0 {
		line += fmt.Sprintf("  %s from %d on", count(int64(len(e.Users)), "place"), e.First)
	}
	if e.By != "" {
		line += "  by " + e.By
	}
	return line
}

func placeOrNothing(p campaign.Place) any {
	if p.Seq < 0 {
		return nil
	}
	return p.String()
}

var errCannotRestore = errors.New("this cannot be restored")

// cannotRestore lists both sides of what cannot be joined.
func cannotRestore(c *cli.Context, d campaign.Difference) error {
	w := c.App.ErrWriter
	why := errCannotRestore
	switch {
	case len(d.Diverged) > 0:
		say(w, "MongoDB  %s\n         hash %s\nRedis    %s\n         hash %s\n", entryLine(d.Diverged[0]), d.Diverged[0].Hash, entryLine(d.Diverged[1]), d.Diverged[1].Hash)
		why = fmt.Errorf("%w: MongoDB and Redis have different entries in the same place", why)
	case d.Broken != nil:
		say(w, "MongoDB  ends at %s\nRedis    ends at %s\n", d.Log, d.Mirror.Place)
		why = fmt.Errorf("%w: what Redis has does not follow from MongoDB's log: %w", why, d.Broken)
	default:
		say(w, "MongoDB  ends at %s\nRedis    was filled up to %s, and no longer has the entries\n", d.Log, d.Mirror.Place)
		why = fmt.Errorf("%w: %s", why, d.Lost)
	}
	return withHint(why, `"earlybird campaign restore --accept-loss" gives up what only Redis has, for ever; a newer backup of MongoDB may still have it`)
}

func acceptLoss(c *cli.Context, s *stores, admin *campaign.Admin, f output.Format, d campaign.Difference) error {
	what := fmt.Sprintf("This gives up what only Redis has, for ever: Redis goes up to %s with %s, MongoDB's log ends at %s.\n"+
		"Users whose place is in between lose it. The log says so for ever, and Redis is filled anew from it.",
		d.Mirror.Place, count(d.Mirror.Last, "place"), d.Log)
	if len(d.Missing) > 0 && len(d.Diverged) == 0 && d.Broken == nil {
		what += fmt.Sprintf("\n%s could be put back instead: leave --accept-loss out.", count(int64(len(d.Missing)), "entry"))
	}
	if err := confirm(c, "%s", what); err != nil {
		return err
	}
	var e campaign.Entry
	err := recorded(c, s, mongostore.Action{Name: "campaign restore --accept-loss"}, func(ctx context.Context, a *mongostore.Action) error {
		var err error
		if e, err = admin.AcceptLoss(ctx, d); e.Campaign > 0 {
			a.Campaign, a.Entry = e.Campaign, e.DocumentID()
		}
		return err
	})
	if err != nil {
		return err
	}
	return output.One(c.App.Writer, f, restoreColumns, int64(0), e.DocumentID(), e.Lost.String())
}
