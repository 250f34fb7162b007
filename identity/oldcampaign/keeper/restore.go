package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// Repair looks at what Redis has and makes it follow the ledger: it restores
// what is lost, and applies a version that an admin decided and Redis did not
// hear of.
func (k *Keeper) Repair(ctx context.Context) error {
	current, err := k.current(ctx)
	if err != nil {
		return err
	}
	s, err := k.board.Snapshot(ctx)
	if err != nil {
		return err
	}
	why, err := k.lost(ctx, current, s)
	if err != nil {
		return err
	}
	if why != "" {
		_, err := k.restore(ctx, why, k.cfg.Patience)
		return err
	}
	if ahead(current, s.Campaign) {
		if err := k.board.Apply(ctx, current); err != nil && !errors.Is(err, campaign.ErrClosed) {
			return err
		}
	}
	return nil
}

// current is the campaign in force, or the zero Campaign when there never was one.
func (k *Keeper) current(ctx context.Context) (campaign.Campaign, error) {
	c, err := campaign.Current(ctx, k.cfg.Ledger, k.cfg.Now())
	if errors.Is(err, campaign.ErrNoCampaign) {
		return campaign.Campaign{}, nil
	}
	return c, err
}

// ahead reports whether version a comes after b.
func ahead(a, b campaign.Campaign) bool {
	x, y := number(a.ID), number(b.ID)
	return x > y || (x == y && a.Version > b.Version)
}

func number(id string) int64 {
	n, _ := strconv.ParseInt(id, 10, 64)
	return n
}

// lost says why Redis must be restored, or "".
func (k *Keeper) lost(ctx context.Context, current campaign.Campaign, s campaign.Snapshot) (string, error) {
	switch {
	case !s.Exists:
		return "there is no campaign key", nil
	case !s.Verified:
		return "another server runs, or claims are closed", nil
	case current.ID == s.Campaign.ID && s.Last < k.stored.of(s.Campaign.ID):
		return "the ledger is ahead", nil
	case s.Last == s.Arrivals:
		return "", nil
	case s.Last < s.Arrivals:
		return "there are more arrivals than positions", nil
	}
	// Holes are closed by logins, so without any there is nothing to do yet.
	expected, err := k.cfg.Ledger.Expected(ctx, k.horizon(), 1)
	if err != nil || len(expected) == 0 {
		return "", err
	}
	return "there are holes in the arrivals", nil
}

// horizon lies after every login, whatever the clocks of the replicas say.
func (k *Keeper) horizon() time.Time { return k.cfg.Now().Add(24 * time.Hour) }

// Result is how a restore went.
type Result struct {
	Opened    bool // false: another restorer is at work, or took over
	Campaign  campaign.Campaign
	Places    int   // users with a position
	Last      int64 // the greatest position; more than Places when holes are left
	Closed    int   // holes closed, and lost arrivals made good, from the expected logins
	Displaced int   // users whose position in Redis belongs to another in the ledger
}

// Restore rebuilds the campaign in Redis from the ledger, taking over from any
// other restorer. It may be repeated at any time: claims are pending while it
// runs, and nobody loses a place.
func (k *Keeper) Restore(ctx context.Context) (Result, error) {
	return k.restore(ctx, "asked to", 0)
}

// maxExpected bounds how many expected logins a restore looks at.
const maxExpected = 100_000

func (k *Keeper) restore(ctx context.Context, why string, patience time.Duration) (Result, error) {
	current, err := k.current(ctx)
	if err != nil { // closing is for nothing while the ledger is down
		return Result{}, fmt.Errorf("restore: %w", err)
	}
	r, err := k.board.Close(ctx, k.consumer, patience)
	if err != nil || r == nil {
		return Result{}, err
	}
	level := slog.LevelWarn
	if current.ID == "" { // nothing was lost: there never was a campaign
		level = slog.LevelInfo
	}
	k.cfg.Log.Log(ctx, level, "restoring the campaign in redis", "reason", why)
	holding, stop := context.WithCancel(ctx)
	defer stop()
	go k.hold(holding, r)
	plan, result, err := k.plan(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("restore: %w", err)
	}
	if result.Opened, err = r.Open(ctx, plan); err != nil {
		return Result{}, fmt.Errorf("restore: %w", err)
	}
	if !result.Opened {
		k.cfg.Log.WarnContext(ctx, "another restore took over")
		return result, nil
	}
	k.cfg.Log.InfoContext(ctx, "campaign restored in redis", "campaign", plan.Campaign.ID, "places", result.Places,
		"last", result.Last, "closed", result.Closed, "displaced", result.Displaced)
	return result, nil
}

// hold renews a right until ctx ends: a restore may take longer than others are
// patient, and two that took over from each other would never end.
func (k *Keeper) hold(ctx context.Context, r *campaign.Restore) {
	for ctx.Err() == nil {
		sleep(ctx, k.cfg.Patience/4)
		_ = r.Renew(ctx) // without it the right is lost later, which Open tells
	}
}

// plan reads everything that knows of an arrival. The outbox comes before the
// ledger, because an entry leaves the outbox only after it is in the ledger.
func (k *Keeper) plan(ctx context.Context) (campaign.Plan, Result, error) {
	c, err := k.current(ctx)
	if err != nil {
		return campaign.Plan{}, Result{}, err
	}
	if c.ID == "" {
		return campaign.Plan{}, Result{}, nil
	}
	p := newPuzzle(c)
	if err := k.gather(ctx, p); err != nil {
		return campaign.Plan{}, Result{}, err
	}
	s, err := k.board.Snapshot(ctx)
	if err != nil {
		return campaign.Plan{}, Result{}, err
	}
	expected, err := k.cfg.Ledger.Expected(ctx, k.horizon(), maxExpected)
	if err != nil {
		return campaign.Plan{}, Result{}, err
	}
	closed := p.complete(expected, c.StatusAt(s.ServerTime) == campaign.Active)
	plan := p.plan()
	return plan, Result{
		Campaign: c, Places: len(plan.Places), Last: plan.Last, Closed: closed, Displaced: len(p.displaced),
	}, nil
}

func (k *Keeper) gather(ctx context.Context, p *puzzle) error {
	var backlog []campaign.Entry
	for e, err := range k.board.Backlog(ctx) {
		if err != nil {
			return err
		}
		if e.CampaignID == p.campaign.ID && e.Position > 0 {
			backlog = append(backlog, e)
		}
	}
	for g, err := range k.cfg.Ledger.Grants(ctx, p.campaign.ID) {
		if err != nil {
			return err
		}
		p.put(g.UserID, g.Rank, stored, true)
	}
	for w, err := range k.cfg.Ledger.Waiting(ctx, p.campaign.ID) {
		if err != nil {
			return err
		}
		p.put(w.UserID, w.Position, stored, false)
	}
	for _, e := range backlog {
		p.put(e.UserID, e.Position, announced, e.Rank > 0)
	}
	s, err := k.board.Snapshot(ctx)
	if err != nil || s.Campaign.ID != p.campaign.ID {
		return err
	}
	for place, err := range k.board.Places(ctx) {
		if err != nil {
			return err
		}
		p.put(place.UserID, place.Position, unannounced, false)
	}
	return nil
}
