package main

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/plugin/edge"
)

// Standings knows where users stand in the campaign; *campaign.Feed is one.
type Standings interface {
	// Campaign returns the settings as last read, without an ID when there is
	// no campaign; false when they are not known.
	Campaign() (campaign.Campaign, bool)
	// Live reports whether the last read succeeded.
	Live() bool
	// Standing reads a user's position; it is bounded in time.
	Standing(ctx context.Context, user string) (campaign.Standing, error)
}

// person is a user of whom at least one token is remembered.
type person struct {
	user   string
	tokens int // guarded by people.mu
	place  atomic.Pointer[place]
}

// place is where a user stands in a campaign. A new value is always a new
// place, so that a compare-and-swap tells whether anything was heard in between.
type place struct {
	campaignID string
	position   int64  // 0: has not arrived
	missed     uint64 // people.missed when it was read
}

// people remembers where the users of remembered tokens stand in the campaign
// of one Redis. Whatever feeds it must call arrived and missedSome, so that what
// it remembers stays right.
type people struct {
	Standings Standings
	Log       *slog.Logger
	Metrics   *metrics

	missed atomic.Uint64 // how often arrivals may have been missed
	mu     sync.Mutex
	byUser map[string]*person
}

// hold returns the user's person, for one more token.
func (p *people) hold(user string) *person {
	p.mu.Lock()
	defer p.mu.Unlock()
	who, ok := p.byUser[user]
	if !ok {
		if p.byUser == nil {
			p.byUser = map[string]*person{}
		}
		who = &person{user: user}
		p.byUser[user] = who
	}
	who.tokens++
	return who
}

// release forgets the person with the last token.
func (p *people) release(who *person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if who.tokens--; who.tokens == 0 {
		delete(p.byUser, who.user)
	}
}

func (p *people) find(user string) *person {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byUser[user]
}

// arrived notes that the user has this position in the current campaign.
func (p *people) arrived(user string, position int64) {
	who := p.find(user)
	settings, ok := p.Standings.Campaign()
	if who == nil || !ok {
		return
	}
	who.place.Store(&place{campaignID: settings.ID, position: position, missed: p.missed.Load()})
}

// missedSome notes that arrivals may have been missed: every position
// remembered is read anew when it is needed.
func (p *people) missedSome() { p.missed.Add(1) }

// standing is what can be said of the person's grant now.
//
// While Redis is out of reach a grant that is remembered still holds: it ends
// only with the campaign. That somebody has none may have changed unheard.
func (p *people) standing(ctx context.Context, who *person) edge.Standing {
	live := p.Standings.Live()
	settings, ok := p.Standings.Campaign()
	if !ok || settings.ID == "" {
		return edge.Standing{Unknown: !ok || !live}
	}
	at, known := p.place(ctx, who, settings.ID, live)
	switch {
	case !known:
		return edge.Standing{Unknown: true}
	case at.position >= 1 && at.position <= settings.Slots:
		return edge.Standing{CampaignID: settings.ID, Rank: at.position, Discount: settings.Discount}
	default:
		return edge.Standing{Unknown: !live}
	}
}

// place is where the person stands in the campaign, as remembered, or else as
// read from Redis. What cannot be read is not remembered.
func (p *people) place(ctx context.Context, who *person, campaignID string, live bool) (at *place, known bool) {
	missed := p.missed.Load()
	old := who.place.Load()
	if old != nil && old.campaignID == campaignID && old.missed == missed {
		return old, true
	}
	if !live {
		return nil, false
	}
	s, err := p.Standings.Standing(ctx, who.user)
	if err != nil {
		p.Metrics.unknown.Inc()
		p.Log.WarnContext(ctx, "position could not be read", slog.Any("err", err))
		return nil, false
	}
	if s.CampaignID != campaignID {
		return nil, false // the settings that came with it are on their way
	}
	at = &place{campaignID: campaignID, position: s.Position, missed: missed}
	if who.place.CompareAndSwap(old, at) {
		return at, true
	}
	// An arrival was heard of meanwhile, or another request has read it too.
	at = who.place.Load()
	return at, at.campaignID == campaignID && at.missed == missed
}
