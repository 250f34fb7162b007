package keeper

import (
	"context"
	"fmt"

	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// sweepBatch is how many expected logins one sweep claims at most.
const sweepBatch = 1000

// Sweep claims, in login order, the logins that have been expected for longer
// than SweepAfter: the edge could not claim them, or their arrival waits to be
// stored. It stops at the first that cannot be decided now, so that nobody is
// overtaken.
func (k *Keeper) Sweep(ctx context.Context) error {
	overdue, err := k.cfg.Ledger.Expected(ctx, k.cfg.Now().Add(-k.cfg.SweepAfter), sweepBatch)
	if err != nil || len(overdue) == 0 {
		return err
	}
	current, err := k.current(ctx)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for _, e := range overdue {
		done, settled, err := k.settle(ctx, current.ID, e)
		if err != nil {
			return err
		}
		if !settled {
			return nil
		}
		if !done {
			continue
		}
		if err := k.cfg.Ledger.Unexpect(ctx, []campaign.Expected{e}); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	return nil
}

// settle makes one login count. It reports whether it is done with, and
// whether it is decided: an arrival that is decided but not stored yet is left
// to the drain, because until then the expectation is what a restore has.
func (k *Keeper) settle(ctx context.Context, current string, e campaign.Expected) (done, settled bool, err error) {
	if e.CampaignID != current {
		return true, true, nil
	}
	arrived, err := k.cfg.Ledger.Arrived(ctx, e.CampaignID, e.UserID)
	if err != nil {
		return false, false, fmt.Errorf("sweep: %w", err)
	}
	if arrived {
		return true, true, nil
	}
	switch out := k.cfg.Claimer.Claim(ctx, e.UserID); out.State {
	case campaign.StatePending, campaign.StatePaused: // it came before the pause
		return false, false, nil
	case campaign.StateGranted:
		return false, true, nil
	case campaign.StateFull:
		s, err := k.board.Standing(ctx, e.UserID)
		return err == nil && s.Position == 0, err == nil, err
	default:
		return true, true, nil
	}
}
