package campaign

import (
	"context"

	"github.com/earlybird/earlybird/identity/trip"
)

const (
	// tripsAtOnce is how many trips to Redis a claimer makes at the same time. A
	// connection that has died delays those on it and nobody else; and while one
	// trip is answered, others are on their way.
	tripsAtOnce = 4
	// claimsPerTrip bounds how long one trip keeps redis-server from others.
	claimsPerTrip = 128
)

// newTrips lets claims that are made while others are on their way to Redis go
// there together: with many logins at once, reading and writing sockets costs
// redis-server more than the claims themselves.
func (c *Claimer) newTrips() *trip.Line[string, Outcome] {
	return trip.NewLine(trip.Config[string, Outcome]{
		Make: c.trip, AtOnce: tripsAtOnce, Most: claimsPerTrip, Timeout: c.cfg.Timeout, Log: c.cfg.Log,
	})
}

// trip claims for these users.
func (c *Claimer) trip(ctx context.Context, users []string) []Outcome {
	answers, err := c.claim(ctx, users)
	if err != nil {
		c.cfg.Log.DebugContext(ctx, "claims are pending", "claims", len(users), "err", err)
	}
	return answers
}
