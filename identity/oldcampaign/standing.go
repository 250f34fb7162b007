package campaign

import (
	"context"
	"errors"

	"github.com/earlybird/earlybird/identity/outage"
)

// Standing is where a user stands in the order of first logins.
type Standing struct {
	CampaignID string // empty when there is no campaign
	Position   int64  // 0: the user has not arrived; within the slots it is a rank
}

// verdict is what a login of a user would mean now.
type verdict string

const (
	verdictKnown   verdict = "known"   // the user has a position
	verdictOpen    verdict = "open"    // a login would get one
	verdictClosed  verdict = "closed"  // a login would get none
	verdictUnknown verdict = "unknown" // Redis must be restored before it can tell
)

// errUnverified is why a position cannot be told though Redis answers.
var errUnverified = errors.New("not compared with the ledger yet")

// Standing reads where a user stands. It is an *outage.Error when Redis does
// not answer, or cannot tell because it must be restored first.
func (b *Board) Standing(ctx context.Context, userID string) (Standing, error) {
	s, v, err := b.look(ctx, userID)
	if err == nil && v == verdictUnknown {
		err = outage.New("redis", "read standing", errUnverified)
	}
	return s, err
}

func (b *Board) look(ctx context.Context, userID string) (Standing, verdict, error) {
	reply, err := standingScript.Run(ctx, b.redis, []string{KeyCampaign, KeyArrivals}, userID).Slice()
	if err != nil {
		return Standing{}, verdictUnknown, outage.New("redis", "read standing", err)
	}
	if len(reply) != 4 {
		return Standing{}, verdictUnknown, outage.New("redis", "read standing", errReply)
	}
	v, _ := reply[0].(string)
	id, _ := reply[1].(string)
	position, _ := reply[2].(int64)
	return Standing{CampaignID: id, Position: position}, verdict(v), nil
}
