package command

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/admin/watch"
	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// watchInterval is the default time between looks.
const watchInterval = time.Second

// latestWinners is how many of the latest winners are shown.
const latestWinners = 5

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
	err = withStores(c, func(s *stores) error {
		ticks := time.NewTicker(interval)
		defer ticks.Stop()
		return watch.Run(c.Context, watch.Config{
			Look: s.sample, View: viewFor(c.App.Writer, f), Ticks: ticks.C, Now: time.Now,
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

// sample reads how the campaign stands and who was granted last.
func (s *stores) sample(ctx context.Context) (watch.Sample, error) {
	progress, err := s.admin().Status(ctx)
	if err != nil {
		return watch.Sample{}, err
	}
	if progress.Restoring || progress.Granted == 0 { // what Redis holds may be another campaign's
		return watch.Sample{Progress: progress}, nil
	}
	places, err := campaign.NewBoard(s.redis).Latest(ctx, progress.Slots, latestWinners)
	if err != nil {
		return watch.Sample{}, err
	}
	ids := make([]string, len(places))
	for i, p := range places {
		ids[i] = p.UserID
	}
	names, err := s.mongo.Usernames(ctx, ids)
	if err != nil {
		return watch.Sample{}, err
	}
	sample := watch.Sample{Progress: progress}
	for _, p := range places {
		sample.Latest = append(sample.Latest, watch.Winner{Rank: p.Position, UserID: p.UserID, Username: names[p.UserID]})
	}
	return sample, nil
}
