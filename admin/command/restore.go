package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
)

// campaignRestore rebuilds the campaign in Redis from the ledger.
func campaignRestore(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	return withStores(c, func(s *stores) error {
		now, err := campaign.NewBoard(s.redis).Snapshot(c.Context)
		if err != nil {
			return err
		}
		ahead := time.Until(now.ServerTime) // campaigns start by the clock of Redis, and this machine's may be wrong
		seen, err := campaign.Current(c.Context, s.mongo, now.ServerTime)
		if err != nil && !errors.Is(err, campaign.ErrNoCampaign) {
			return err
		}
		if err := confirm(c, "%s", restoreWarning(seen, now)); err != nil {
			return err
		}
		var result keeper.Result
		err = recorded(c, s, "campaign restore", seen.ID, func(ctx context.Context) (string, error) {
			var err error
			result, err = restore(ctx, s, func() time.Time { return time.Now().Add(ahead) })
			return fmt.Sprintf("%d places, %d holes closed, %d displaced", result.Places, result.Closed, result.Displaced), err
		})
		if err != nil {
			return err
		}
		return showRestored(c, f, result)
	})
}

// restoreWarning says what a restore will do.
func restoreWarning(seen campaign.Campaign, now campaign.Snapshot) string {
	if seen.ID == "" {
		return "This tells Redis that there is no campaign, as MongoDB says. Nobody holds a place."
	}
	has := "holds no campaign"
	if now.Exists {
		has = fmt.Sprintf("holds campaign %q with %d places", now.Campaign.ID, now.Arrivals)
	}
	if now.Exists && !now.Verified {
		has += ", closed to claims"
	}
	return fmt.Sprintf("This rebuilds campaign %s %q in Redis from MongoDB and from what Redis still has. Redis %s.\n"+
		"Logins succeed meanwhile and are told pending; they count afterwards. Who has a place keeps it.", seen.ID, seen.Name, has)
}

// errSuperseded reports that the right to restore went to somebody else.
var errSuperseded = errors.New("another restore took over, this one changed nothing")

func restore(ctx context.Context, s *stores, clock func() time.Time) (keeper.Result, error) {
	k := keeper.New(keeper.Config{
		Ledger: s.mongo, Redis: s.redis, Claimer: campaign.NewClaimer(campaign.ClaimerConfig{Redis: s.redis}), Now: clock,
		Log: slog.New(slog.DiscardHandler), // the record and the result say it
	})
	result, err := k.Restore(ctx)
	if err == nil && !result.Opened {
		err = withHint(errSuperseded, `wait a few seconds, then look with "earlybird campaign status"`)
	}
	return result, err
}

func showRestored(c *cli.Context, f output.Format, r keeper.Result) error {
	if holes := r.Last - int64(r.Places); holes > 0 {
		say(c.App.ErrWriter, "%d places are free between others: they go to the next logins, and claims are pending until then.\n", holes)
	}
	if r.Displaced > 0 {
		say(c.App.ErrWriter, "%d users had a place in Redis that is another's in the ledger, and got one behind: \"earlybird campaign audit\" names conflicts.\n", r.Displaced)
	}
	return output.One(c.App.Writer, f, columns("campaign version places last closed displaced"),
		r.Campaign.ID, r.Campaign.Version, int64(r.Places), r.Last, int64(r.Closed), int64(r.Displaced))
}
