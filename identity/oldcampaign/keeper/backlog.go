package keeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/outage"
)

// backlogCount bounds what Backlog counts one by one.
const backlogCount = 1000

// Backlog is how far the ledger is behind Redis and the logins, and what it
// refused.
type Backlog struct {
	Undrained       int64         // entries of the outbox that are not in the ledger; of those that no replica was given 1,000 at most
	OldestUndrained time.Duration // the age of the first of them
	Expected        int           // logins that wait to be counted, 1,000 at most
	OldestExpected  time.Duration // the age of the first of them; over 10 s they are swept
	Conflicts       int           // of the campaign in force: grants that the ledger refused to count
}

// Backlog looks at Redis and the ledger. It fails with an *outage.Error when
// either does not answer.
func (k *Keeper) Backlog(ctx context.Context) (Backlog, error) {
	var b Backlog
	if err := k.undrained(ctx, &b); err != nil {
		return b, err
	}
	waiting, err := k.cfg.Ledger.Expected(ctx, k.cfg.Now().Add(time.Hour), backlogCount)
	if err != nil {
		return b, fmt.Errorf("read expected logins: %w", err)
	}
	b.Expected = len(waiting)
	if len(waiting) > 0 {
		b.OldestExpected = max(0, k.cfg.Now().Sub(waiting[0].At))
	}
	current, err := k.current(ctx)
	if err != nil {
		return b, fmt.Errorf("read campaign: %w", err)
	}
	conflicts, err := k.cfg.Ledger.Conflicts(ctx, current.ID)
	b.Conflicts = len(conflicts)
	if err != nil {
		return b, fmt.Errorf("read conflicts: %w", err)
	}
	return b, nil
}

// undrained counts what was given to a replica and not confirmed, and what was
// given to none.
func (k *Keeper) undrained(ctx context.Context, b *Backlog) error {
	delivered, ok, err := k.delivered(ctx)
	if err != nil {
		return err
	}
	if !ok {
		delivered = "0-0"
	}
	fresh, err := k.cfg.Redis.XRangeN(ctx, campaign.KeyOutbox, "("+delivered, "+", backlogCount).Result()
	if err != nil {
		return outage.New("redis", "read outbox", err)
	}
	first := ""
	if len(fresh) > 0 {
		first = fresh[0].ID
	}
	b.Undrained = int64(len(fresh))
	if ok {
		pending, err := k.cfg.Redis.XPending(ctx, campaign.KeyOutbox, group).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return outage.New("redis", "read pending entries", err)
		}
		if pending != nil && pending.Count > 0 {
			b.Undrained += pending.Count
			first = pending.Lower
		}
	}
	if first == "" {
		return nil
	}
	now, err := k.cfg.Redis.Time(ctx).Result()
	if err != nil {
		return outage.New("redis", "read time", err)
	}
	b.OldestUndrained = max(0, now.Sub(campaign.EntryTime(first)))
	return nil
}
