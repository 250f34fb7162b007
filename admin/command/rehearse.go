package command

import (
	"context"
	"errors"

	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// pinned is a ledger in which the newest campaign is the one that was shown to
// whoever decides, until the next version is stored. If it is not the newest
// any more, that insert fails: nobody changes what they have not seen.
type pinned struct {
	campaign.Ledger
	seen   campaign.Campaign // the zero Campaign: there was none
	stored bool
}

// Newest implements campaign.History.
func (p *pinned) Newest(ctx context.Context) (campaign.Campaign, error) {
	switch {
	case p.stored:
		return p.Ledger.Newest(ctx)
	case p.seen.ID == "":
		return campaign.Campaign{}, campaign.ErrNoCampaign
	default:
		return p.seen, nil
	}
}

// AddVersion implements campaign.History.
func (p *pinned) AddVersion(ctx context.Context, c campaign.Campaign) error {
	err := p.Ledger.AddVersion(ctx, c)
	p.stored = err == nil
	return err
}

// errRehearsed ends a rehearsal in which nothing was refused.
var errRehearsed = errors.New("rehearsed, nothing was changed")

// rehearsal is a pinned ledger that keeps the version that would be stored, and
// refuses it.
type rehearsal struct {
	pinned
	next campaign.Campaign
}

// AddVersion implements campaign.History.
func (r *rehearsal) AddVersion(_ context.Context, c campaign.Campaign) error {
	r.next = c
	return errRehearsed
}
