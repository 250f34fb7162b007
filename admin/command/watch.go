package command

import (
	"context"
	"io"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/admin/watch"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
)

// watchInterval is the default time between looks.
const watchInterval = time.Second

// shownPeople is how many of the latest winners, and of those next in line, are
// shown.
const shownPeople = 5

// campaignWatch shows how the campaign goes until Ctrl-C, which is how it is
// meant to end: exit status 0.
func campaignWatch(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	interval := c.Duration("interval")
	if interval <= 0 {
		return usage("--interval: %s is not a time to wait; use 1s, or longer", interval)
	}
	show := watch.Run
	if c.IsSet("http") {
		address, err := pageAddress(c)
		if err != nil {
			return err
		}
		checks, err := doctorChecks(c)
		if err != nil {
			return err
		}
		show = func(ctx context.Context, cfg watch.Config) error { return watchInBrowser(ctx, c, address, checks, cfg) }
	} else if c.Bool("listen-anywhere") {
		return usage("--listen-anywhere is for --http: give --http an address as well, such as 0.0.0.0:9180")
	}
	err = withStores(c, func(s *stores) error {
		ticks := time.NewTicker(interval)
		defer ticks.Stop()
		return show(c.Context, watch.Config{
			Look: s.sampler(c.App.Writer), View: viewFor(c.App.Writer, f), Ticks: ticks.C, Now: time.Now,
		})
	})
	if c.Err() != nil {
		return nil
	}
	return err
}

// viewFor draws on a terminal, and writes lines everywhere else and for every
// format that programs read.
func viewFor(w io.Writer, f output.Format) watch.View {
	if f == output.Table && drawable(w) {
		return &watch.Screen{W: w}
	}
	return watch.NewLog(w, f)
}

// drawable reports whether w is a terminal whose cursor can be moved.
func drawable(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// sampler returns what reads how the campaign stands, who was granted last, and
// how far Redis is behind. It stops when w's reader is gone.
func (s *stores) sampler(w io.Writer) func(context.Context) (watch.Sample, error) {
	admin := s.campaigns()
	return func(ctx context.Context) (watch.Sample, error) {
		if readerGone(w) {
			return watch.Sample{}, watch.ErrStop
		}
		summary, mirrorErr := s.mirror.Summary(ctx) // before the log, which may only be ahead
		log, err := admin.ReadOn(ctx)
		if err == nil && log.Latest() == nil {
			err = campaign.ErrNoCampaign
		}
		if err != nil {
			return watch.Sample{}, err
		}
		f := log.Current()
		settings := f.Settings()
		sample := watch.Sample{
			Progress: watch.Progress{
				ID: campaignID(f), Name: settings.Name, Discount: settings.Discount, Slots: settings.Slots,
				Granted: f.Granted(), Remaining: settings.Slots - f.Granted(), Waiting: f.Waiting(),
				Status: statusOf(f), StartsAt: settings.StartsAt, EndsAt: settings.EndsAt, Rehearsal: settings.Rehearsal,
			},
			Lag:      s.lag(ctx, log, summary, mirrorErr),
			OpenedAt: f.OpenedAt(), Since: f.Since(), FullAt: f.FullAt(), Arrivals: f.Arrivals(),
		}
		return sample, s.addPeople(ctx, &sample, f)
	}
}

// lag says how far Redis is behind the log of the campaign in force.
func (s *stores) lag(ctx context.Context, log *campaign.Log, m mirror.Summary, err error) watch.Lag {
	l := watch.Lag{Beat: -1}
	at := campaign.Place{Seq: -1}
	if log.InForce() != nil {
		at = log.InForce().At()
	}
	switch {
	case err != nil:
		l.Problem = brief(err)
	case m.Origin != "" && m.Origin != log.Origin:
		l.Problem = "it belongs to another database"
	case m.Origin != "" && !m.Intact:
		l.Problem = "a part of what it holds is missing"
	case at.Before(m.Place):
		l.Problem = "it holds entries that MongoDB lacks: see earlybird campaign restore"
	case m.Epoch == at.Epoch:
		l.Entries = at.Seq - m.Seq
	default:
		l.Entries = at.Seq + 1
	}
	if m.Beat.IsZero() {
		return l
	}
	if now, err := s.mongo.Now(ctx); err == nil { // beats are by MongoDB's clock
		l.Beat = max(0, now.Sub(m.Beat))
	}
	return l
}

// addPeople adds who was granted last, and who is next in line.
func (s *stores) addPeople(ctx context.Context, sample *watch.Sample, f *campaign.Fold) error {
	var latest, next []campaign.Grant
	for rank := min(f.Limit(), f.Last()); rank > 0 && len(latest) < shownPeople; rank-- {
		if g, ok := f.Grant(rank); ok {
			latest = append(latest, g)
		}
	}
	for g := range f.Line() {
		if next = append(next, g); len(next) == shownPeople {
			break
		}
	}
	var ids []string
	for _, g := range slices.Concat(latest, next) {
		ids = append(ids, g.UserID)
	}
	names, err := s.mongo.Usernames(ctx, ids)
	named := func(all []campaign.Grant) []watch.Winner {
		var people []watch.Winner
		for _, g := range all {
			people = append(people, watch.Winner{Rank: g.Rank, UserID: g.UserID, Username: names[g.UserID]})
		}
		return people
	}
	sample.Latest, sample.Next = named(latest), named(next)
	return err
}
