package auth

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/earlybird/earlybird/plugin/edge"
)

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
	missed     uint64 // Checker.missed when it was read
}

// people are the persons by their user id.
type people struct {
	mu     sync.Mutex
	byUser map[string]*person
}

// hold returns the user's person, for one more token.
func (p *people) hold(user string) *person {
	p.mu.Lock()
	defer p.mu.Unlock()
	who, ok := p.byUser[user]
	if !ok {
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

// Arrived says that the user has this position in the current campaign.
func (c *Checker) Arrived(user string, position int64) {
	who := c.people.find(user)
	settings, ok := c.cfg.Standings.Campaign()
	if who == nil || !ok {
		return
	}
	who.place.Store(&place{campaignID: settings.ID, position: position, missed: c.missed.Load()})
}

// Missed says that arrivals may have been missed: every position remembered is
// read anew when it is needed.
func (c *Checker) Missed() { c.missed.Add(1) }

// standing is what can be said of the person's grant now.
//
// While Redis is out of reach a grant that is remembered still holds: it ends
// only with the campaign. That somebody has none may have changed unheard.
func (c *Checker) standing(ctx context.Context, who *person) edge.Standing {
	live := c.cfg.Standings.Live()
	settings, ok := c.cfg.Standings.Campaign()
	if !ok || settings.ID == "" {
		return edge.Standing{Unknown: !ok || !live}
	}
	at, known := c.place(ctx, who, settings.ID, live)
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
func (c *Checker) place(ctx context.Context, who *person, campaignID string, live bool) (at *place, known bool) {
	missed := c.missed.Load()
	old := who.place.Load()
	if old != nil && old.campaignID == campaignID && old.missed == missed {
		return old, true
	}
	if !live {
		return nil, false
	}
	s, err := c.cfg.Standings.Standing(ctx, who.user)
	if err != nil {
		c.cfg.Metrics.unknown.Inc()
		c.cfg.Log.WarnContext(ctx, "position could not be read", slog.Any("err", err))
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
