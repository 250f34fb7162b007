package keeper

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// Login is a successful login, as the login audit has it.
type Login struct {
	UserID string
	At     time.Time
}

// Logins reads the login audit.
type Logins interface {
	// SuccessfulLogins yields the successful logins before a time, in any order.
	SuccessfulLogins(ctx context.Context, before time.Time) iter.Seq2[Login, error]
}

// AuditConfig says what an audit compares.
type AuditConfig struct {
	Ledger campaign.Ledger
	Board  *campaign.Board
	Logins Logins // nil: the login audit is left out
	// Now is by default the clock of Redis, by which campaigns start: that of the
	// machine may be wrong, and is taken only while Redis does not answer.
	Now func() time.Time
}

// Kind is what a finding is about.
type Kind string

// The kinds of findings.
const (
	KindConflict  Kind = "conflict"   // a rank was given twice; the ledger recorded it
	KindRanks     Kind = "ranks"      // ranks have a gap, a double, or go beyond the slots
	KindRedis     Kind = "redis"      // Redis has another campaign, or is being restored
	KindNotStored Kind = "not stored" // Redis has an arrival that is neither stored nor on its way
	KindNotInLive Kind = "not live"   // the ledger has an arrival that Redis does not
	KindDiffers   Kind = "differs"    // Redis and the ledger give different positions
	KindOverdue   Kind = "overdue"    // a login waits to be made good for more than a minute, and not for a pause to end
	KindNoLogin   Kind = "no login"   // a grant without a successful login before it
)

// Finding is one difference that should not be.
type Finding struct {
	Kind   Kind
	UserID string // empty when it is about no one user
	Detail string
}

// Report is what an audit found.
type Report struct {
	Campaign campaign.Campaign
	Granted  int64 // in the ledger
	Waiting  int64 // in the ledger, and not granted since
	Live     int64 // positions in Redis
	OnTheWay int64 // of them in the outbox and not in the ledger yet
	Findings []Finding
}

const (
	// overdueAfter is when an expected login should long have been made good.
	overdueAfter = time.Minute
	// clockSkew is how far the clocks of Redis and identity may be apart.
	clockSkew = 5 * time.Second
)

// auditTries is how often an audit begins again because an admin changed the
// campaign meanwhile.
const auditTries = 5

// Audit compares the ledger with itself, with Redis and with the login audit,
// while logins and changes of the campaign go on. An empty id means the newest
// campaign; only the one in force is compared with Redis. Errors:
// campaign.ErrNoCampaign, *outage.Error.
func Audit(ctx context.Context, cfg AuditConfig, campaignID string) (Report, error) {
	if cfg.Now == nil {
		cfg.Now = clock(ctx, cfg.Board)
	}
	now, err := look(ctx, cfg, campaignID)
	for try := 1; err == nil; try++ {
		a := &auditor{cfg: cfg, granted: map[string]campaign.Grant{}, places: map[string]int64{}}
		a.report.Campaign = now.about
		if err := a.run(ctx, now.about.ID == now.current.ID); err != nil {
			return Report{}, err
		}
		before := now
		if now, err = look(ctx, cfg, campaignID); err == nil && (now == before || try == auditTries) {
			return a.report, nil
		}
	}
	return Report{}, err
}

func clock(ctx context.Context, b *campaign.Board) func() time.Time {
	s, err := b.Snapshot(ctx)
	if err != nil {
		return time.Now
	}
	ahead := time.Until(s.ServerTime)
	return func() time.Time { return time.Now().Add(ahead) }
}

// subject is the campaign that an audit is about, and the one in force.
type subject struct{ about, current campaign.Campaign }

func look(ctx context.Context, cfg AuditConfig, id string) (s subject, err error) {
	if id == "" {
		s.about, err = cfg.Ledger.Newest(ctx)
	} else {
		s.about, err = cfg.Ledger.Campaign(ctx, id)
	}
	if err == nil {
		s.current, err = campaign.Current(ctx, cfg.Ledger, cfg.Now())
	}
	return s, err
}

// auditor is the state of one audit.
type auditor struct {
	cfg     AuditConfig
	report  Report
	granted map[string]campaign.Grant
	places  map[string]int64 // the ledger's positions, granted or waiting
}

// run does everything once; live says whether Redis holds the campaign.
func (a *auditor) run(ctx context.Context, live bool) error {
	steps := []func(context.Context) error{a.grants, a.waiting, a.conflicts, a.overdue}
	if live {
		steps = append(steps, a.live)
	}
	if a.cfg.Logins != nil {
		steps = append(steps, a.logins)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (a *auditor) find(kind Kind, user, format string, args ...any) {
	a.report.Findings = append(a.report.Findings, Finding{Kind: kind, UserID: user, Detail: fmt.Sprintf(format, args...)})
}

func (a *auditor) grants(ctx context.Context) error {
	next := int64(1)
	for g, err := range a.cfg.Ledger.Grants(ctx, a.report.Campaign.ID) {
		if err != nil {
			return err
		}
		a.report.Granted++
		switch {
		case g.Rank < next:
			a.find(KindRanks, g.UserID, "rank %d is held twice", g.Rank)
		case g.Rank > next:
			a.find(KindRanks, "", "nobody holds the ranks %d to %d", next, g.Rank-1)
		}
		if g.Rank > a.report.Campaign.Slots {
			a.find(KindRanks, g.UserID, "rank %d is beyond the %d slots", g.Rank, a.report.Campaign.Slots)
		}
		next = max(next, g.Rank+1)
		a.granted[g.UserID], a.places[g.UserID] = g, g.Rank
	}
	return nil
}

func (a *auditor) waiting(ctx context.Context) error {
	for w, err := range a.cfg.Ledger.Waiting(ctx, a.report.Campaign.ID) {
		if err != nil {
			return err
		}
		rank, known := a.places[w.UserID]
		switch {
		case !known:
			a.places[w.UserID] = w.Position
			a.report.Waiting++
		case rank != w.Position:
			a.find(KindDiffers, w.UserID, "waited at position %d and holds rank %d", w.Position, rank)
		}
	}
	return nil
}

func (a *auditor) conflicts(ctx context.Context) error {
	found, err := a.cfg.Ledger.Conflicts(ctx, a.report.Campaign.ID)
	for _, c := range found {
		a.find(KindConflict, c.UserID, "was given rank %d, which %s holds", c.Rank, holder(c))
	}
	return err
}

func holder(c campaign.Conflict) string {
	if c.Holder == c.UserID {
		return "beside another"
	}
	return c.Holder
}

func (a *auditor) overdue(ctx context.Context) error {
	if a.report.Campaign.Status == campaign.Paused {
		return nil
	}
	found, err := a.cfg.Ledger.Expected(ctx, a.cfg.Now().Add(-overdueAfter), maxExpected)
	for _, e := range found {
		if e.CampaignID == a.report.Campaign.ID {
			a.find(KindOverdue, e.UserID, "logged in at %s and is not made good", e.At.Format(time.RFC3339))
		}
	}
	return err
}

// live compares with Redis. The ledger was read before, so what it has Redis
// must have; what Redis has beyond it must be in the outbox, read afterwards.
func (a *auditor) live(ctx context.Context) error {
	s, err := a.cfg.Board.Snapshot(ctx)
	if err != nil {
		return err
	}
	if !s.Verified || s.Campaign.ID != a.report.Campaign.ID {
		a.find(KindRedis, "", "redis is being restored or has not followed: it holds campaign %q", s.Campaign.ID)
		return nil
	}
	if s.Campaign.Version != a.report.Campaign.Version {
		a.find(KindRedis, "", "redis has version %d of the campaign, the ledger version %d", s.Campaign.Version, a.report.Campaign.Version)
	}
	live := map[string]int64{}
	for p, err := range a.cfg.Board.Places(ctx) {
		if err != nil {
			return err
		}
		live[p.UserID] = p.Position
	}
	a.report.Live = int64(len(live))
	way := map[string]int64{}
	for e, err := range a.cfg.Board.Backlog(ctx) {
		if err != nil {
			return err
		}
		if e.CampaignID == a.report.Campaign.ID {
			way[e.UserID] = e.Position
		}
	}
	a.compare(live, way)
	return nil
}

func (a *auditor) compare(live, way map[string]int64) {
	for user, position := range live {
		stored, known := a.places[user]
		_, granted := a.granted[user]
		_, coming := way[user]
		switch {
		case known && stored != position:
			a.find(KindDiffers, user, "has position %d in redis and %d in the ledger", position, stored)
		case known && (granted || position > a.report.Campaign.Slots):
		case coming:
			a.report.OnTheWay++
		default:
			a.find(KindNotStored, user, "has position %d in redis; it is neither in the ledger nor in the outbox", position)
		}
	}
	for user, position := range a.places {
		if _, ok := live[user]; !ok {
			a.find(KindNotInLive, user, "has position %d in the ledger and none in redis", position)
		}
	}
}

func (a *auditor) logins(ctx context.Context) error {
	missing := make(map[string]campaign.Grant, len(a.granted))
	var last time.Time
	for user, g := range a.granted {
		missing[user] = g
		if g.GrantedAt.After(last) {
			last = g.GrantedAt
		}
	}
	if len(missing) == 0 {
		return nil
	}
	for l, err := range a.cfg.Logins.SuccessfulLogins(ctx, last.Add(clockSkew)) {
		if err != nil {
			return err
		}
		if g, ok := missing[l.UserID]; ok && !l.At.After(g.GrantedAt.Add(clockSkew)) {
			delete(missing, l.UserID)
		}
	}
	for user, g := range missing {
		a.find(KindNoLogin, user, "holds rank %d, and no login of theirs before %s is recorded", g.Rank, g.GrantedAt.Format(time.RFC3339))
	}
	return nil
}
