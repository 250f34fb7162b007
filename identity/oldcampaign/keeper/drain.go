package keeper

import (
	"context"
	_ "embed" // the script
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/outage"
)

const (
	group      = "identity"
	drainBatch = 500
	drainBlock = time.Second
)

// highWater is the greatest position that this process stored for a campaign:
// Redis being behind it has lost something.
type highWater struct {
	mu       sync.Mutex
	campaign string
	position int64
}

func (h *highWater) raise(campaignID string, position int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.campaign != campaignID {
		h.campaign, h.position = campaignID, 0
	}
	h.position = max(h.position, position)
}

func (h *highWater) of(campaignID string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.campaign != campaignID {
		return 0
	}
	return h.position
}

// Drain stores in the ledger what the outbox holds: first what this process
// was given and did not confirm, then what is new, for which it waits up to a
// second. What it cannot store stays in the outbox.
func (k *Keeper) Drain(ctx context.Context) error {
	for _, from := range []string{"0", ">"} {
		for {
			messages, err := k.read(ctx, from)
			if err != nil {
				return err
			}
			if len(messages) == 0 {
				break
			}
			if err := k.store(ctx, messages); err != nil {
				return err
			}
			if from == ">" {
				break
			}
		}
	}
	return nil
}

func (k *Keeper) read(ctx context.Context, from string) ([]redis.XMessage, error) {
	args := &redis.XReadGroupArgs{
		Group: group, Consumer: k.consumer, Streams: []string{campaign.KeyOutbox, from}, Count: drainBatch, Block: -1,
	}
	if from == ">" {
		args.Block = drainBlock
	}
	streams, err := k.cfg.Redis.XReadGroup(ctx, args).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case redis.HasErrorPrefix(err, "NOGROUP"):
		return nil, k.createGroup(ctx)
	case err != nil:
		return nil, outage.New("redis", "read outbox", err)
	case len(streams) == 0:
		return nil, nil
	}
	return streams[0].Messages, nil
}

func (k *Keeper) createGroup(ctx context.Context) error {
	err := k.cfg.Redis.XGroupCreateMkStream(ctx, campaign.KeyOutbox, group, "0").Err()
	if err != nil && !redis.HasErrorPrefix(err, "BUSYGROUP") {
		return outage.New("redis", "create consumer group", err)
	}
	return nil
}

// store puts entries into the ledger, then drops the expectations they
// fulfil, then confirms them. Dying between any two repeats the earlier ones,
// which then do nothing.
func (k *Keeper) store(ctx context.Context, messages []redis.XMessage) error {
	var (
		ids     []string
		grants  []campaign.Grant
		waiting []campaign.Waiting
		done    []campaign.Expected
	)
	for _, m := range messages {
		ids = append(ids, m.ID)
		e, err := campaign.ParseEntry(m)
		if err != nil {
			// A deleted entry that was pending comes without values.
			k.cfg.Log.ErrorContext(ctx, "outbox entry cannot be read and is skipped", "entry", m.ID, "err", err)
			continue
		}
		switch {
		case e.Type != campaign.EntryArrival && e.Type != campaign.EntryGrant:
			continue
		case e.Rank > 0:
			grants = append(grants, campaign.Grant{CampaignID: e.CampaignID, UserID: e.UserID, Rank: e.Rank, GrantedAt: e.At})
		default:
			waiting = append(waiting, campaign.Waiting{CampaignID: e.CampaignID, UserID: e.UserID, Position: e.Position, At: e.At})
		}
		done = append(done, campaign.Expected{CampaignID: e.CampaignID, UserID: e.UserID})
	}
	if err := k.record(ctx, grants, waiting); err != nil {
		return err
	}
	if len(done) > 0 {
		if err := k.cfg.Ledger.Unexpect(ctx, done); err != nil {
			return fmt.Errorf("drop expectations: %w", err)
		}
	}
	if err := k.cfg.Redis.XAck(ctx, campaign.KeyOutbox, group, ids...).Err(); err != nil {
		return outage.New("redis", "confirm outbox entries", err)
	}
	return nil
}

func (k *Keeper) record(ctx context.Context, grants []campaign.Grant, waiting []campaign.Waiting) error {
	if len(grants) > 0 {
		conflicts, err := k.cfg.Ledger.AddGrants(ctx, grants)
		if err != nil {
			return fmt.Errorf("store grants: %w", err)
		}
		for _, c := range conflicts {
			k.cfg.Log.ErrorContext(ctx, "grant conflicts with the ledger",
				"campaign", c.CampaignID, "user", c.UserID, "rank", c.Rank, "holder", c.Holder)
		}
	}
	if len(waiting) > 0 {
		if err := k.cfg.Ledger.AddWaiting(ctx, waiting); err != nil {
			return fmt.Errorf("store waiting: %w", err)
		}
	}
	for _, g := range grants {
		k.stored.raise(g.CampaignID, g.Rank)
	}
	for _, w := range waiting {
		k.stored.raise(w.CampaignID, w.Position)
	}
	return nil
}

// tidy stores what a replica that died has left unconfirmed, forgets that
// replica, and trims the outbox behind what is stored.
func (k *Keeper) tidy(ctx context.Context) error {
	if err := k.takeOver(ctx); err != nil {
		return err
	}
	if err := k.forget(ctx); err != nil {
		return err
	}
	return k.trim(ctx)
}

var (
	//go:embed lua/forget.lua
	forgetLua    string
	forgetScript = redis.NewScript(forgetLua)
)

// forget removes the consumers of replicas that have ended: every start makes a
// new one, and the list would only grow.
func (k *Keeper) forget(ctx context.Context) error {
	err := forgetScript.Run(ctx, k.cfg.Redis, []string{campaign.KeyOutbox}, group, k.cfg.Forget.Milliseconds()).Err()
	if err != nil {
		return outage.New("redis", "remove consumers", err)
	}
	return nil
}

func (k *Keeper) takeOver(ctx context.Context) error {
	start := "0-0"
	for {
		messages, next, err := k.cfg.Redis.XAutoClaim(ctx, &redis.XAutoClaimArgs{
			Stream: campaign.KeyOutbox, Group: group, Consumer: k.consumer, MinIdle: k.cfg.TakeOver, Start: start, Count: drainBatch,
		}).Result()
		if redis.HasErrorPrefix(err, "NOGROUP") {
			return nil
		}
		if err != nil {
			return outage.New("redis", "take over outbox entries", err)
		}
		if len(messages) > 0 {
			if err := k.store(ctx, messages); err != nil {
				return err
			}
		}
		if next == "0-0" || next == "" {
			return nil
		}
		start = next
	}
}

// trim removes what is stored and older than Keep. It reads how far the group
// was given entries first and what of them is unconfirmed second, so that an
// entry given out in between lies behind the first.
func (k *Keeper) trim(ctx context.Context) error {
	delivered, ok, err := k.delivered(ctx)
	if err != nil || !ok {
		return err
	}
	pending, err := k.cfg.Redis.XPending(ctx, campaign.KeyOutbox, group).Result()
	if err != nil {
		return outage.New("redis", "read pending entries", err)
	}
	now, err := k.cfg.Redis.Time(ctx).Result()
	if err != nil {
		return outage.New("redis", "read time", err)
	}
	cut := strconv.FormatInt(now.Add(-k.cfg.Keep).UnixMilli(), 10) + "-0"
	if campaign.Older(delivered, cut) {
		cut = delivered
	}
	if pending.Count > 0 && campaign.Older(pending.Lower, cut) {
		cut = pending.Lower
	}
	if err := k.cfg.Redis.XTrimMinID(ctx, campaign.KeyOutbox, cut).Err(); err != nil {
		return outage.New("redis", "trim outbox", err)
	}
	return nil
}

func (k *Keeper) delivered(ctx context.Context) (string, bool, error) {
	groups, err := k.cfg.Redis.XInfoGroups(ctx, campaign.KeyOutbox).Result()
	if err != nil {
		if strings.Contains(err.Error(), "no such key") {
			return "", false, nil
		}
		return "", false, outage.New("redis", "read consumer groups", err)
	}
	for _, g := range groups {
		if g.Name == group {
			return g.LastDeliveredID, true, nil
		}
	}
	return "", false, nil
}
