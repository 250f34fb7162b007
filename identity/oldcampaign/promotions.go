package campaign

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/earlybird/earlybird/identity/outage"
)

// PromotionsConfig configures Promotions.
type PromotionsConfig struct {
	Ledger  Ledger
	Board   *Board
	Timeout time.Duration // of one look at Redis; 0: DefaultClaimTimeout
	Now     func() time.Time
}

// Promotions is what the identity service asks of the campaign while it
// answers a request.
type Promotions struct {
	cfg PromotionsConfig

	mu         sync.Mutex
	known      Campaign
	knownAt    time.Time
	sparedTill time.Time // until when Redis is not asked before a login is answered; zero: it answers
}

const (
	// knownFor is how long the campaign read from the ledger is believed.
	knownFor = 500 * time.Millisecond
	// spareFor is how long Redis is not asked again after it did not answer in
	// time: one login in a second pays for finding out, not every one.
	spareFor = time.Second
	// probeFor is how long it is waited for then, until it answers again.
	probeFor = 50 * time.Millisecond
)

// NewPromotions returns Promotions.
func NewPromotions(cfg PromotionsConfig) *Promotions {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultClaimTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Promotions{cfg: cfg}
}

// Expect remembers a login that could count, before it is answered: whatever
// happens to the claim afterwards, the login is made good. It stores nothing
// when the login cannot count or the user's arrival is known.
//
// The error is an *outage.Error. The promotion never fails a login, so the
// login is answered all the same, and its claim at the edge is then the only one
// to count it: the caller logs and counts this.
func (p *Promotions) Expect(ctx context.Context, userID string, at time.Time) error {
	id, err := p.countsFor(ctx, userID, at)
	if err != nil || id == "" {
		return err
	}
	return p.cfg.Ledger.Expect(ctx, Expected{CampaignID: id, UserID: userID, At: at})
}

// countsFor returns the campaign for which a login could count, or "".
func (p *Promotions) countsFor(ctx context.Context, userID string, at time.Time) (string, error) {
	switch s, v := p.look(ctx, userID); v {
	case verdictKnown, verdictClosed:
		return "", nil
	case verdictOpen:
		return s.CampaignID, nil
	case verdictUnknown:
	}
	c, err := p.current(ctx)
	if errors.Is(err, ErrNoCampaign) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if c.StatusAt(at) != Active {
		return "", nil
	}
	return c.ID, nil
}

// look asks Redis where a user stands, unless it has just failed to answer.
func (p *Promotions) look(ctx context.Context, userID string) (Standing, verdict) {
	p.mu.Lock()
	spared, failing := p.cfg.Now().Before(p.sparedTill), !p.sparedTill.IsZero()
	p.mu.Unlock()
	if spared {
		return Standing{}, verdictUnknown
	}
	limit := p.cfg.Timeout
	if failing {
		limit = min(limit, probeFor)
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s, v, err := p.cfg.Board.look(bounded, userID)
	if err == nil {
		if failing {
			p.mu.Lock()
			p.sparedTill = time.Time{}
			p.mu.Unlock()
		}
		return s, v
	}
	if ctx.Err() == nil { // a client that went away says nothing of Redis
		p.mu.Lock()
		p.sparedTill = p.cfg.Now().Add(spareFor)
		p.mu.Unlock()
	}
	return Standing{}, verdictUnknown
}

// Promotion returns the discount that a user holds: what the ledger says, on a
// miss what Redis says. It is ErrNoGrant when the user holds none, and an
// *outage.Error when that cannot be told.
//
// GrantedAt is zero for a grant that is not in the ledger yet and whose entry
// in the outbox is not among the latest.
func (p *Promotions) Promotion(ctx context.Context, userID string) (Promotion, error) {
	c, err := p.current(ctx)
	if errors.Is(err, ErrNoCampaign) {
		return Promotion{}, ErrNoGrant
	}
	if err != nil {
		return p.fromRedis(ctx, userID)
	}
	g, err := p.cfg.Ledger.Grant(ctx, c.ID, userID)
	if err != nil {
		return p.fromRedis(ctx, userID)
	}
	return promotionOf(c, g), nil
}

func promotionOf(c Campaign, g Grant) Promotion {
	return Promotion{Grant: g, Name: c.Name, Description: c.Description, Discount: c.Discount}
}

func (p *Promotions) fromRedis(ctx context.Context, userID string) (Promotion, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	s, err := p.cfg.Board.Standing(ctx, userID)
	if err != nil {
		return Promotion{}, err
	}
	if s.Position == 0 {
		return Promotion{}, ErrNoGrant
	}
	snap, err := p.cfg.Board.Snapshot(ctx)
	if err != nil {
		return Promotion{}, err
	}
	if snap.Campaign.ID != s.CampaignID {
		return Promotion{}, outage.New("redis", "read promotion", errors.New("the campaign changed meanwhile"))
	}
	if s.Position > snap.Campaign.Slots {
		return Promotion{}, ErrNoGrant
	}
	at, err := p.cfg.Board.grantedAt(ctx, s.CampaignID, userID)
	if err != nil {
		return Promotion{}, err
	}
	return promotionOf(snap.Campaign, Grant{CampaignID: s.CampaignID, UserID: userID, Rank: s.Position, GrantedAt: at}), nil
}

// current returns the campaign in force, read at most twice a second.
func (p *Promotions) current(ctx context.Context) (Campaign, error) {
	p.mu.Lock()
	c, at := p.known, p.knownAt
	p.mu.Unlock()
	now := p.cfg.Now()
	if !at.IsZero() && now.Sub(at) < knownFor {
		return c, nil
	}
	c, err := Current(ctx, p.cfg.Ledger, now)
	if err != nil {
		return Campaign{}, err
	}
	p.mu.Lock()
	p.known, p.knownAt = c, now
	p.mu.Unlock()
	return c, nil
}
