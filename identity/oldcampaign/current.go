package campaign

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// startLead is how long before its start a campaign takes the place of the one
// before it: longer than the look that does it may be late, and than the
// clocks of identity and Redis may be apart.
const startLead = 5 * time.Second

// Current returns the campaign that is in force, in its newest version: the
// newest one, or while that has not started the one before, whose winners keep
// the discount until then. It is what belongs into Redis. Errors:
// ErrNoCampaign, *outage.Error.
func Current(ctx context.Context, h History, now time.Time) (Campaign, error) {
	newest, err := h.Newest(ctx)
	if err != nil {
		return Campaign{}, err
	}
	c := newest
	for !c.begun(now) {
		number, err := strconv.ParseInt(c.ID, 10, 64)
		if err != nil {
			return Campaign{}, fmt.Errorf("campaign id %q: %w", c.ID, err)
		}
		if number <= 1 {
			return newest, nil // none has begun yet
		}
		if c, err = h.Campaign(ctx, strconv.FormatInt(number-1, 10)); err != nil {
			return Campaign{}, err
		}
	}
	return c, nil
}

// begun reports whether the campaign has started or is about to. One that was
// ended before that never does.
func (c Campaign) begun(now time.Time) bool {
	if c.Status == Ended && c.ChangedAt.Before(now) {
		now = c.ChangedAt
	}
	return !now.Add(startLead).Before(c.StartsAt)
}
