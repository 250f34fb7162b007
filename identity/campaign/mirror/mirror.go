// Package mirror writes the copy of the campaign's log in Redis, and reads it at
// the edges.
//
// [Mirror] implements campaign.Mirror; identity fills it. At the edge, a [Resolver]
// reads the outcome of a login, and a [Tail] follows the log into a [View], which
// knows who holds a grant without asking Redis.
//
// All keys share one hash tag, so that one script can use them together on Redis
// Cluster:
//
//	earlybird:{earlybird}:campaign   hash: origin epoch id seq hash settings limit phase last voids beat
//	earlybird:{earlybird}:arrivals   sorted set: user id by position
//	earlybird:{earlybird}:voided     set: user ids whose place was voided
//	earlybird:{earlybird}:log        stream: each entry as JSON, its id is <epoch>-<seq + 1>
//	earlybird:{earlybird}:turn       string: which replica has the turn to append
//	earlybird:{earlybird}:next       string: which replica gets it next, and how long a login has waited there
package mirror

import (
	"context"
	_ "embed" // the scripts
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/redisdb"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// The keys in Redis.
const (
	KeyCampaign = "earlybird:{earlybird}:campaign"
	KeyArrivals = "earlybird:{earlybird}:arrivals"
	KeyVoided   = "earlybird:{earlybird}:voided"
	KeyLog      = "earlybird:{earlybird}:log"
	KeyTurn     = "earlybird:{earlybird}:turn"
	KeyNext     = "earlybird:{earlybird}:next"
	keyOutbox   = "earlybird:{earlybird}:outbox" // of earlier builds; removed
)

var keys = []string{KeyCampaign, KeyArrivals, KeyVoided, KeyLog, KeyTurn, keyOutbox, KeyNext}

var (
	//go:embed lua/read.lua
	readLua string
	//go:embed lua/state.lua
	stateLua string
	//go:embed lua/standing.lua
	standingLua string
	//go:embed lua/apply.lua
	applyLua string
	//go:embed lua/turn.lua
	turnLua string
	//go:embed lua/release.lua
	releaseLua string
	//go:embed lua/clear.lua
	clearLua string
)

var (
	stateScript    = redis.NewScript(readLua + stateLua)
	standingScript = redis.NewScript(readLua + standingLua)
	applyScript    = redis.NewScript(readLua + applyLua)
	clearScript    = redis.NewScript(readLua + clearLua)
	turnScript     = redis.NewScript(turnLua)
	releaseScript  = redis.NewScript(releaseLua)
)

const (
	turnFor  = 200 * time.Millisecond // how long a turn lasts
	seizeFor = time.Second            // how long a seized turn lasts
	nextFor  = 100 * time.Millisecond // how long the next replica keeps its place without asking again
	// callTimeout is the default of Config.Timeout.
	callTimeout = 2 * time.Second
	// streamPage is how many entries of the stream one read takes.
	streamPage = 100
)

// Config configures a Mirror. Redis is required.
type Config struct {
	Redis   redis.UniversalClient
	Timeout time.Duration // of one call; 0: 2 s
	// Breaker stops calls for a while after one has failed: they then fail at once,
	// with an *unavailable.Error that wraps redisdb.ErrResting. nil: no breaker.
	Breaker *redisdb.Breaker
}

// Mirror is the mirror in Redis. It is safe for concurrent use. It runs scripts
// and plain data commands, on its own keys only.
type Mirror struct {
	redis   redis.UniversalClient
	timeout time.Duration
	breaker *redisdb.Breaker
}

// New returns a Mirror. It does not connect to Redis yet.
func New(cfg Config) *Mirror {
	if cfg.Timeout == 0 {
		cfg.Timeout = callTimeout
	}
	return &Mirror{redis: cfg.Redis, timeout: cfg.Timeout, breaker: cfg.Breaker}
}

// call makes one call to Redis within the timeout. An error reply, such as one
// from a script, is no failure of Redis and does not open the breaker.
func (m *Mirror) call(ctx context.Context, op string, call func(context.Context) error) error {
	var err error
	if m.breaker == nil {
		bounded, cancel := context.WithTimeout(ctx, m.timeout)
		defer cancel()
		err = call(bounded)
	} else {
		var answer redis.Error
		failed := m.breaker.Do(ctx, m.timeout, func(bounded context.Context) error {
			if err = call(bounded); errors.As(err, &answer) {
				return nil
			}
			return err
		})
		if failed != nil {
			err = failed
		}
	}
	if err != nil {
		return unavailable.New("redis", op, err)
	}
	return nil
}

var _ campaign.Mirror = (*Mirror)(nil)

// Summary is the mirror's state and that of the campaign in force.
type Summary struct {
	campaign.MirrorState
	Campaign int64 // its number; 0: none
	Phase    campaign.Phase
	Limit    int64             // the last position that is granted
	Settings campaign.Settings // zero with no campaign
}

// State implements campaign.Mirror.
func (m *Mirror) State(ctx context.Context) (campaign.MirrorState, error) {
	s, err := m.Summary(ctx)
	return s.MirrorState, err
}

// Summary returns the mirror's Summary. It only reads.
func (m *Mirror) Summary(ctx context.Context) (Summary, error) {
	const op = "read the mirror's state"
	var values []string
	err := m.call(ctx, op, func(ctx context.Context) (err error) {
		values, err = stateScript.RunRO(ctx, m.redis, keys).StringSlice()
		return err
	})
	if err != nil {
		return Summary{}, err
	}
	s, err := parseSummary(values)
	if err != nil {
		return Summary{}, unavailable.New("redis", op, err)
	}
	return s, nil
}

// Apply implements campaign.Mirror.
func (m *Mirror) Apply(ctx context.Context, b campaign.Batch) (campaign.MirrorState, error) {
	const op = "apply entries"
	args, err := batchArgs(b)
	if err != nil {
		return campaign.MirrorState{}, err
	}
	var values []string
	err = m.call(ctx, op, func(ctx context.Context) (err error) {
		values, err = applyScript.Run(ctx, m.redis, keys, args...).StringSlice()
		return err
	})
	if err != nil {
		return campaign.MirrorState{}, err
	}
	s, err := parseSummary(values)
	if err != nil {
		return campaign.MirrorState{}, unavailable.New("redis", op, err)
	}
	s.Answer = campaign.Answer(values[len(values)-1])
	return s.MirrorState, nil
}

// batchArgs are the arguments of apply.lua.
func batchArgs(b campaign.Batch) ([]any, error) {
	known := max(b.Known, b.From+int64(len(b.Entries))-1)
	var beat int64
	if !b.Beat.IsZero() {
		beat = b.Beat.UnixMilli()
	}
	args := []any{b.Origin, b.Epoch, b.Campaign, b.From, b.Prev.String(), known, beat, b.Release, len(b.Entries)}
	var users []any
	for _, e := range b.Entries {
		text, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("entry %s: %w", e.DocumentID(), err)
		}
		limit, settings, void, reinstate := "", "", "", ""
		if e.Kind != campaign.KindArrive {
			limit = strconv.FormatInt(e.Limit, 10)
		}
		if e.Settings != nil {
			settings = formatSettings(*e.Settings)
		}
		switch e.Kind {
		case campaign.KindVoid:
			void = e.User
		case campaign.KindReinstate:
			reinstate = e.User
		}
		args = append(args, text, e.Hash.String(), string(phaseAfter(e.Kind)), limit, settings, void, reinstate, e.First, len(e.Users))
		for _, user := range e.Users {
			users = append(users, user)
		}
	}
	return append(args, users...), nil
}

// phaseAfter is the phase that begins with an entry; "" if the phase stays.
func phaseAfter(kind campaign.Kind) campaign.Phase {
	switch kind {
	case campaign.KindStart:
		return campaign.PhaseScheduled
	case campaign.KindOpen, campaign.KindResume:
		return campaign.PhaseOpen
	case campaign.KindPause:
		return campaign.PhasePaused
	case campaign.KindEnd:
		return campaign.PhaseEnded
	default:
		return ""
	}
}

// Turn implements campaign.Mirror.
func (m *Mirror) Turn(ctx context.Context, me string, at campaign.Place, waited time.Duration) (answer campaign.TurnAnswer, err error) {
	err = m.call(ctx, "ask for the turn", func(ctx context.Context) error {
		text, err := turnScript.Run(ctx, m.redis, keys,
			me, at.Epoch, at.Seq, turnFor.Milliseconds(), waited.Milliseconds(), nextFor.Milliseconds()).Text()
		answer = campaign.TurnAnswer(text)
		return err
	})
	return answer, err
}

// Seize implements campaign.Mirror.
func (m *Mirror) Seize(ctx context.Context, me string) error {
	return m.call(ctx, "take the turn", func(ctx context.Context) error {
		return m.redis.Set(ctx, KeyTurn, me, seizeFor).Err()
	})
}

// Release implements campaign.Mirror.
func (m *Mirror) Release(ctx context.Context, me string) error {
	return m.call(ctx, "give the turn back", func(ctx context.Context) error {
		return releaseScript.Run(ctx, m.redis, keys, me).Err()
	})
}

// Clear implements campaign.Mirror.
func (m *Mirror) Clear(ctx context.Context, origin string, at campaign.Place) (cleared bool, err error) {
	err = m.call(ctx, "empty the mirror", func(ctx context.Context) error {
		n, err := clearScript.Run(ctx, m.redis, keys, origin, at.Epoch, at.Seq).Int()
		cleared = n == 1
		return err
	})
	return cleared, err
}

// Entries implements campaign.Mirror. Each page of the stream has its own timeout.
func (m *Mirror) Entries(ctx context.Context) iter.Seq2[campaign.Entry, error] {
	return func(yield func(campaign.Entry, error) bool) {
		for from := "-"; ; {
			var messages []redis.XMessage
			err := m.call(ctx, "read the mirror's log", func(ctx context.Context) (err error) {
				messages, err = m.redis.XRangeN(ctx, KeyLog, from, "+", streamPage).Result()
				return err
			})
			if err != nil {
				yield(campaign.Entry{}, err)
				return
			}
			for _, message := range messages {
				_, e, err := parseMessage(message)
				if !yield(e, err) || err != nil {
					return
				}
			}
			if len(messages) < streamPage {
				return
			}
			from = "(" + messages[len(messages)-1].ID
		}
	}
}

// parseMessage reads an entry of the stream and its place.
func parseMessage(message redis.XMessage) (campaign.Place, campaign.Entry, error) {
	at, err := parseStreamID(message.ID)
	if err != nil {
		return campaign.Place{}, campaign.Entry{}, err
	}
	text, _ := message.Values["entry"].(string)
	var e campaign.Entry
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return at, campaign.Entry{}, &campaign.DamageError{Entry: "redis " + message.ID, Reason: err.Error()}
	}
	return at, e, nil
}

// streamID is the stream id of the entry at a place. For the place before the
// first entry it is lower than every id.
func streamID(at campaign.Place) string { return fmt.Sprintf("%d-%d", at.Epoch, at.Seq+1) }

func parseStreamID(id string) (campaign.Place, error) {
	epoch, n, ok := strings.Cut(id, "-")
	e, err1 := strconv.ParseInt(epoch, 10, 64)
	s, err2 := strconv.ParseInt(n, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return campaign.Place{}, &campaign.DamageError{Entry: "redis " + id, Reason: "is no id of an entry"}
	}
	return campaign.Place{Epoch: e, Seq: s - 1}, nil
}

// summaryValues is how many values reply in read.lua returns.
const summaryValues = 12

// parseSummary reads what reply in read.lua returns.
func parseSummary(values []string) (Summary, error) {
	if len(values) < summaryValues {
		return Summary{}, fmt.Errorf("the script returned %d values", len(values))
	}
	s := Summary{Phase: campaign.Phase(values[10])}
	var errs []error
	number := func(i int) int64 {
		n, err := strconv.ParseInt(values[i], 10, 64)
		errs = append(errs, err)
		return n
	}
	var err error
	s.Origin, s.Place = values[0], campaign.Place{Epoch: number(1), Seq: number(2)}
	if values[3] != "" {
		s.Hash, err = campaign.ParseHash(values[3])
		errs = append(errs, err)
	}
	s.Stream = campaign.Place{Seq: -1}
	if values[4] != "" {
		s.Stream, err = parseStreamID(values[4])
		errs = append(errs, err)
	}
	s.Intact, s.Last = values[5] == "1", number(6)
	if ms := number(7); ms != 0 {
		s.Beat = time.UnixMilli(ms).UTC()
	}
	s.Campaign, s.Limit = number(8), number(9)
	if values[11] != "" {
		s.Settings, err = parseSettings(values[11])
		errs = append(errs, err)
	}
	return s, errors.Join(errs...)
}

// settingsJSON is the form of settings in the mirror.
type settingsJSON struct {
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Discount    int64     `json:"discount"`
	Slots       int64     `json:"slots"`
	Waitlist    int64     `json:"waitlist"`
	StartsAt    time.Time `json:"starts_at"`
	EndsAt      time.Time `json:"ends_at,omitzero"`
	Rehearsal   bool      `json:"rehearsal,omitempty"`
}

func formatSettings(s campaign.Settings) string {
	text, _ := json.Marshal(settingsJSON(s)) // cannot fail: JSON has all of its types
	return string(text)
}

func parseSettings(text string) (campaign.Settings, error) {
	var s settingsJSON
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return campaign.Settings{}, fmt.Errorf("settings: %w", err)
	}
	return campaign.Settings(s), nil
}
