package campaign

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/outage"
)

// Board is the campaign as Redis has it: the current settings, and the order
// of first logins. Its methods return an *outage.Error when Redis does not
// answer.
type Board struct {
	redis redis.UniversalClient
}

// NewBoard returns the Board in a Redis.
func NewBoard(client redis.UniversalClient) *Board { return &Board{redis: client} }

// Snapshot is what Redis holds at one moment.
type Snapshot struct {
	Campaign   Campaign // the zero Campaign when there is none
	Exists     bool     // there is a campaign hash, if only to say that there is no campaign
	Verified   bool     // claims are open: the data was checked on the server that runs now
	Restorer   string   // the token of a restore that is under way
	Last       int64    // the last position given
	Arrivals   int64    // how many users have one; other than Last when something is broken
	ServerTime time.Time
	RunID      string // names the running server as a primary
}

// Snapshot reads the campaign and the counters at one moment.
func (b *Board) Snapshot(ctx context.Context) (Snapshot, error) {
	reply, err := stateScript.Run(ctx, b.redis, []string{KeyCampaign, KeyArrivals}).Slice()
	if err != nil {
		return Snapshot{}, outage.New("redis", "read campaign", err)
	}
	s, err := parseSnapshot(reply)
	if err != nil {
		return Snapshot{}, outage.New("redis", "read campaign", err)
	}
	return s, nil
}

func parseSnapshot(reply []any) (Snapshot, error) {
	if len(reply) != 4 {
		return Snapshot{}, errReply
	}
	runID, _ := reply[0].(string)
	ms, _ := reply[1].(int64)
	arrivals, _ := reply[2].(int64)
	flat, _ := reply[3].([]any)
	hash := make(map[string]string, len(flat)/2)
	for i := 0; i+1 < len(flat); i += 2 {
		key, _ := flat[i].(string)
		hash[key], _ = flat[i+1].(string)
	}
	s := Snapshot{
		Exists: hash["status"] != "", Restorer: hash["restorer"], Arrivals: arrivals,
		ServerTime: time.UnixMilli(ms).UTC(), RunID: runID,
	}
	if !s.Exists {
		return s, nil
	}
	s.Verified = hash["run_id"] == runID
	var err error
	if s.Last, err = strconv.ParseInt(hash["last"], 10, 64); err != nil {
		return Snapshot{}, fmt.Errorf("field last: %w", err)
	}
	s.Campaign, err = decodeHash(hash)
	return s, err
}

// statusNone in the hash says that there is no campaign, as a fact: a missing
// hash says that Redis has lost it.
const statusNone = "none"

// encodeHash is the hash's fields beside id, version, slots, last and run_id.
func encodeHash(c Campaign) []any {
	status := string(c.Status)
	if c.ID == "" {
		status = statusNone
	}
	return []any{
		"name", c.Name, "description", c.Description, "discount", c.Discount, "waitlist", c.Waitlist,
		"status", status, "starts_at", milli(c.StartsAt), "ends_at", milli(c.EndsAt),
		"changed_at", milli(c.ChangedAt), "changed_by", c.ChangedBy,
	}
}

func decodeHash(h map[string]string) (Campaign, error) {
	if h["status"] == statusNone {
		return Campaign{}, nil
	}
	c := Campaign{
		ID: h["id"], Name: h["name"], Description: h["description"], Status: Status(h["status"]), ChangedBy: h["changed_by"],
	}
	var starts, ends, changed int64
	for _, f := range []struct {
		name string
		to   *int64
	}{
		{"version", &c.Version},
		{"discount", &c.Discount},
		{"slots", &c.Slots},
		{"waitlist", &c.Waitlist},
		{"starts_at", &starts},
		{"ends_at", &ends},
		{"changed_at", &changed},
	} {
		n, err := strconv.ParseInt(h[f.name], 10, 64)
		if err != nil {
			return Campaign{}, fmt.Errorf("field %s: %w", f.name, err)
		}
		*f.to = n
	}
	c.StartsAt, c.EndsAt, c.ChangedAt = fromMilli(starts), fromMilli(ends), fromMilli(changed)
	return c, nil
}

func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// ErrClosed reports that Redis has lost the campaign, or was not compared with the ledger
// since it started; until it is restored nothing may be changed in it.
var ErrClosed = errors.New("the campaign in redis is closed until it is restored")

// Apply moves Redis forward to a version of the settings. It does nothing when
// Redis has this version or a later one, and returns ErrClosed when Redis must
// be restored first. Raised slots are granted at once to those who were turned
// away, in their order.
func (b *Board) Apply(ctx context.Context, c Campaign) error {
	args := append([]any{c.ID, c.Version, c.Slots}, encodeHash(c)...)
	answer, err := applyScript.Run(ctx, b.redis, []string{KeyCampaign, KeyArrivals, KeyOutbox}, args...).Text()
	if err != nil {
		return outage.New("redis", "apply campaign version", err)
	}
	if answer == "closed" {
		return ErrClosed
	}
	return nil
}

// outboxLook is how many of the latest entries are searched for a grant that
// the ledger does not have yet.
const outboxLook = 5000

// grantedAt finds when a user was granted in the latest entries of the outbox;
// the zero time when they do not tell.
func (b *Board) grantedAt(ctx context.Context, campaignID, userID string) (time.Time, error) {
	entries, err := b.redis.XRevRangeN(ctx, KeyOutbox, "+", "-", outboxLook).Result()
	if err != nil {
		return time.Time{}, outage.New("redis", "read outbox", err)
	}
	for _, e := range entries {
		if e.Values["user"] == userID && e.Values["campaign"] == campaignID && e.Values["rank"] != nil {
			return EntryTime(e.ID), nil
		}
	}
	return time.Time{}, nil
}
