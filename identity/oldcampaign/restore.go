package campaign

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/outage"
)

// Restore is the right to rebuild the campaign in Redis, obtained by Close.
// Claims are pending until it is opened, or somebody else's is.
type Restore struct {
	board *Board
	token string
	runID string
}

// Close closes the campaign to claims and returns the right to restore it, or
// nil when somebody else began to, or renewed the right, less than patience ago. An earlier right,
// the caller's own too, is void.
func (b *Board) Close(ctx context.Context, by string, patience time.Duration) (*Restore, error) {
	token := rand.Text()
	reply, err := closeScript.Run(ctx, b.redis, []string{KeyCampaign}, token, by, patience.Milliseconds()).StringSlice()
	if err != nil {
		return nil, outage.New("redis", "close campaign", err)
	}
	if len(reply) != 2 || reply[0] != "closed" {
		return nil, nil
	}
	return &Restore{board: b, token: token, runID: reply[1]}, nil
}

// Renew says that the restorer is still at work. It does nothing when the right
// is void.
func (r *Restore) Renew(ctx context.Context) error {
	err := renewScript.Run(ctx, r.board.redis, []string{KeyCampaign}, r.token).Err()
	if err != nil && !errors.Is(err, redis.Nil) {
		return outage.New("redis", "renew restore", err)
	}
	return nil
}

// Place is a user's place in the order of first logins.
type Place struct {
	UserID   string
	Position int64
}

// Plan is what a restore puts in place of what Redis has.
type Plan struct {
	Campaign Campaign // the zero Campaign: there is none
	Places   []Place
	Last     int64   // the greatest position; more than len(Places) when holes are left
	Arrived  []Place // of Places: new ones, announced as arrivals
	Granted  []Place // of Places: arrived before, granted now because the slots reach them
}

// stageTTL removes what a restorer that died has prepared.
const stageTTL = 10 * time.Minute

const stageBatch = 1000

// Open puts the plan in place by one script, and opens the campaign to claims
// unless holes are left. It reports false, and has changed nothing, when
// somebody else has taken over or Redis is not the same server any more.
func (r *Restore) Open(ctx context.Context, plan Plan) (bool, error) {
	arrivals, entries := keyStaging+r.token+":arrivals", keyStaging+r.token+":entries"
	if err := r.stage(ctx, arrivals, entries, plan); err != nil {
		return false, outage.New("redis", "stage restore", err)
	}
	c := plan.Campaign
	args := []any{
		r.token, r.runID, len(plan.Places), 3 * (len(plan.Arrived) + len(plan.Granted)),
		"id", c.ID, "version", c.Version, "slots", c.Slots, "last", plan.Last,
	}
	args = append(args, encodeHash(c)...)
	keys := []string{KeyCampaign, KeyArrivals, KeyOutbox, arrivals, entries}
	answer, err := openScript.Run(ctx, r.board.redis, keys, args...).Text()
	if err != nil {
		return false, outage.New("redis", "open campaign", err)
	}
	return answer == "opened", nil
}

func (r *Restore) stage(ctx context.Context, arrivals, entries string, plan Plan) error {
	client := r.board.redis
	if err := client.Del(ctx, arrivals, entries).Err(); err != nil {
		return err
	}
	// Each batch brings its end with it: whoever dies in between leaves nothing.
	put := func(key string, batch func(redis.Pipeliner)) error {
		_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
			batch(p)
			p.Expire(ctx, key, stageTTL)
			return nil
		})
		return err
	}
	for from := 0; from < len(plan.Places); from += stageBatch {
		batch := plan.Places[from:min(from+stageBatch, len(plan.Places))]
		members := make([]redis.Z, len(batch))
		for i, p := range batch {
			members[i] = redis.Z{Score: float64(p.Position), Member: p.UserID}
		}
		if err := put(arrivals, func(p redis.Pipeliner) { p.ZAdd(ctx, arrivals, members...) }); err != nil {
			return err
		}
	}
	for kind, places := range map[string][]Place{EntryArrival: plan.Arrived, EntryGrant: plan.Granted} {
		for from := 0; from < len(places); from += stageBatch {
			var values []any
			for _, p := range places[from:min(from+stageBatch, len(places))] {
				values = append(values, kind, p.UserID, p.Position)
			}
			if err := put(entries, func(p redis.Pipeliner) { p.RPush(ctx, entries, values...) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// boardPage is how many users or entries are read from Redis at once.
const boardPage = 1000

// Places yields who has which position, in order, as Redis has it.
func (b *Board) Places(ctx context.Context) iter.Seq2[Place, error] {
	return func(yield func(Place, error) bool) {
		for from := int64(0); ; from += boardPage {
			page, err := b.redis.ZRangeWithScores(ctx, KeyArrivals, from, from+boardPage-1).Result()
			if err != nil {
				yield(Place{}, outage.New("redis", "read arrivals", err))
				return
			}
			for _, z := range page {
				if !yield(Place{UserID: fmt.Sprint(z.Member), Position: int64(z.Score)}, nil) {
					return
				}
			}
			if len(page) < boardPage {
				return
			}
		}
	}
}

// Entry is one entry of the outbox.
type Entry struct {
	ID         string // of the stream
	Type       string // EntryArrival, ...
	CampaignID string
	UserID     string
	Position   int64     // in the order of first logins; of a grant it is the rank
	Rank       int64     // 0: turned away
	At         time.Time // by the clock of Redis
}

// Backlog yields what the outbox holds, the oldest first. A malformed entry
// comes with its ID alone.
func (b *Board) Backlog(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		from := "-"
		for {
			page, err := b.redis.XRangeN(ctx, KeyOutbox, from, "+", boardPage).Result()
			if err != nil {
				yield(Entry{}, outage.New("redis", "read outbox", err))
				return
			}
			for _, m := range page {
				e, err := ParseEntry(m)
				if err != nil {
					e = Entry{ID: m.ID}
				}
				if !yield(e, nil) {
					return
				}
			}
			if len(page) < boardPage {
				return
			}
			from = "(" + page[len(page)-1].ID
		}
	}
}

// ParseEntry reads an entry of the outbox.
func ParseEntry(m redis.XMessage) (Entry, error) {
	text := func(name string) string { s, _ := m.Values[name].(string); return s }
	e := Entry{ID: m.ID, Type: text("type"), CampaignID: text("campaign"), UserID: text("user")}
	switch e.Type {
	case EntryCampaign, EntryRestored:
		return e, nil
	case EntryArrival, EntryGrant:
	default:
		return Entry{}, fmt.Errorf("outbox entry %s: unknown type", m.ID)
	}
	number := func(name string, to *int64) error {
		n, err := strconv.ParseInt(text(name), 10, 64)
		if err != nil || n < 1 {
			return fmt.Errorf("outbox entry %s: field %s is not a positive number", m.ID, name)
		}
		*to = n
		return nil
	}
	if e.CampaignID == "" || e.UserID == "" {
		return Entry{}, fmt.Errorf("outbox entry %s: campaign or user is missing", m.ID)
	}
	e.At = EntryTime(m.ID)
	if e.Type == EntryArrival {
		return e, number("position", &e.Position)
	}
	err := number("rank", &e.Rank)
	e.Position = e.Rank
	return e, err
}
