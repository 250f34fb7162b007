package campaign

import (
	"context"
	"iter"
	"time"
)

// Waiting is a user who was turned away: their login counted, but every slot
// was taken. The position is the order of their first login, so it is greater
// than the slots there were, and becomes their rank if slots are raised to it.
type Waiting struct {
	CampaignID string
	UserID     string
	Position   int64
	At         time.Time
}

// Expected is a login that counts, or may count, and whose arrival is not
// stored in the ledger yet.
type Expected struct {
	CampaignID string
	UserID     string
	At         time.Time // when the login was answered
}

// Conflict is a grant that the ledger refused to count, because its rank
// belongs to somebody else or the user holds another rank.
type Conflict struct {
	CampaignID string
	UserID     string
	Rank       int64
	Holder     string // the user whom the ledger has at this rank; the same user when they hold another rank
	FoundAt    time.Time
}

// History keeps every version of every campaign. Campaign ids are the
// campaigns' numbers as decimal strings: "1", "2", ...
//
// Every method of History, Records and Expectations may also return an
// *outage.Error when the store does not answer. Implementations pass
// ledgertest.Run.
type History interface {
	// Newest returns the newest version of the campaign with the greatest
	// number, or ErrNoCampaign when there never was one.
	Newest(ctx context.Context) (Campaign, error)

	// Campaign returns the newest version of one campaign, or ErrNoCampaign.
	Campaign(ctx context.Context, id string) (Campaign, error)

	// AddVersion stores a version. ErrConflict when this campaign already has
	// a version of this number: of two concurrent calls exactly one succeeds.
	AddVersion(ctx context.Context, c Campaign) error
}

// Records keeps who was granted what, and who was turned away. Nothing in it
// is ever changed or removed, and storing what is stored does nothing.
type Records interface {
	// AddGrants stores grants and returns those it found in conflict with what
	// is stored already, after recording them. A conflict stops nothing.
	AddGrants(ctx context.Context, grants []Grant) ([]Conflict, error)

	// AddWaiting stores who was turned away.
	AddWaiting(ctx context.Context, waiting []Waiting) error

	// Grant returns the grant of a user, or ErrNoGrant.
	Grant(ctx context.Context, campaignID, userID string) (Grant, error)

	// Arrived reports whether the ledger holds a grant or a place on the
	// waiting list for this user.
	Arrived(ctx context.Context, campaignID, userID string) (bool, error)

	// Grants yields the grants of a campaign in the order of their ranks.
	Grants(ctx context.Context, campaignID string) iter.Seq2[Grant, error]

	// Waiting yields who was turned away, in the order of their positions.
	// It includes those who were granted later.
	Waiting(ctx context.Context, campaignID string) iter.Seq2[Waiting, error]

	// Conflicts returns the conflicts recorded for a campaign.
	Conflicts(ctx context.Context, campaignID string) ([]Conflict, error)
}

// Expectations keeps the logins whose arrival is not stored yet: a small
// collection, as large as what is in flight.
type Expectations interface {
	// Expect stores e. When the campaign and user are there already the
	// earlier one stays.
	Expect(ctx context.Context, e Expected) error

	// Expected returns what was expected before a time, in login order (At,
	// then user id), at most limit of them.
	Expected(ctx context.Context, before time.Time, limit int) ([]Expected, error)

	// Unexpect removes the expectations of these campaigns and users; what is
	// not there is no error. At is not compared.
	Unexpect(ctx context.Context, done []Expected) error
}

// Ledger is what the identity service keeps of campaigns in MongoDB.
type Ledger interface {
	History
	Records
	Expectations
}
