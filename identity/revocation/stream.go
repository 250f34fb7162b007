package revocation

import (
	"context"
	_ "embed" // the scripts
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/unavailable"
)

// The keys in Redis. Both carry the hash tag of the project's other keys, so
// that one script may use them together on Redis Cluster.
const (
	KeyStream = "earlybird:{earlybird}:revocations"       // stream: jti until, or user gen until; prev: the entry before
	KeyState  = "earlybird:{earlybird}:revocations:state" // hash: origin, epoch, count, last, beat
)

var (
	//go:embed lua/origin.lua
	originLua string
	//go:embed lua/state.lua
	stateLua string
	//go:embed lua/announce.lua
	announceLua string
	//go:embed lua/renew.lua
	renewLua string
	//go:embed lua/beat.lua
	beatLua string
	//go:embed lua/trim.lua
	trimLua string
	//go:embed lua/clear.lua
	clearLua string
)

var (
	stateScript    = redis.NewScript(stateLua)
	announceScript = redis.NewScript(originLua + announceLua)
	renewScript    = redis.NewScript(originLua + renewLua)
	beatScript     = redis.NewScript(originLua + beatLua)
	trimScript     = redis.NewScript(originLua + trimLua)
	clearScript    = redis.NewScript(clearLua)

	keys = []string{KeyStream, KeyState}
)

const (
	streamPage    = 1000            // entries written at once
	streamTimeout = 2 * time.Second // of one script
)

// errReply reports a script's answer that cannot be read.
var errReply = errors.New("unexpected reply")

// ForeignError reports a Redis that holds the revocations of another database:
// a wrong URL, or MongoDB's data was replaced and Redis kept. Nothing was
// written to it.
type ForeignError struct {
	Theirs, Ours string // the origins; see Store
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("redis holds the revocations of another database (origin %s, this one is %s) and is left as it is", e.Theirs, e.Ours)
}

// State is what the stream in Redis is worth at one moment.
type State struct {
	Whole  bool   // no entry has gone missing since the epoch began
	Origin string // of the database whose revocations these are; empty: an empty Redis, or an earlier version's
	Epoch  string // changes whenever the stream is filled from scratch
	// Beat is when an identity service last found everything in the stream
	// that MongoDB held, by its clock; zero: not in this epoch yet.
	Beat time.Time

	last string // id of the last entry that was added
}

// Look reads the state of the stream. It fails with an *unavailable.Error.
func Look(ctx context.Context, client redis.UniversalClient) (State, error) {
	return stream{client}.state(ctx)
}

// Clear removes the revocations of another database from a Redis that an operator
// takes over, as Look has shown them; a running Publisher then fills it. It
// reports false, and does nothing, when they are another origin's by now. It
// fails with an *unavailable.Error.
func Clear(ctx context.Context, client redis.UniversalClient, shown State) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	cleared, err := clearScript.Run(ctx, client, keys, shown.Origin).Bool()
	if err != nil {
		return false, unavailable.New("redis", "remove revocations", err)
	}
	return cleared, nil
}

// stream is the revocations in Redis. Its methods return an *unavailable.Error when
// Redis does not answer. Those that write do so for the database of an origin,
// and fail with a *ForeignError when Redis holds those of another.
type stream struct{ redis redis.UniversalClient }

func (s stream) state(ctx context.Context) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	st, err := stateOf(stateScript.RunRO(ctx, s.redis, keys))
	if err != nil {
		return State{}, unavailable.New("redis", "read revocation state", err)
	}
	return st, nil
}

// stateOf reads the answer of state.lua.
func stateOf(cmd *redis.Cmd) (State, error) {
	reply, err := cmd.Slice()
	if err != nil {
		return State{}, err
	}
	if len(reply) != 5 {
		return State{}, errReply
	}
	whole, _ := reply[0].(int64)
	var text [5]string
	for i := range text {
		text[i], _ = reply[i].(string)
	}
	st := State{Whole: whole == 1, Origin: text[1], Epoch: text[2], last: text[3]}
	beat, err := strconv.ParseInt(text[4], 10, 64)
	if err != nil {
		return State{}, errReply
	}
	if beat > 0 {
		st.Beat = time.UnixMilli(beat).UTC()
	}
	return st, nil
}

// write runs a script that writes. It reports whether the script did what was
// asked, and what it answered beside that.
func (s stream) write(ctx context.Context, op string, script *redis.Script, origin string, args ...any) (answer string, done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	reply, err := script.Run(ctx, s.redis, keys, append([]any{origin}, args...)...).StringSlice()
	if err == nil && len(reply) == 0 {
		err = errReply
	}
	if err != nil {
		return "", false, unavailable.New("redis", op, err)
	}
	if len(reply) > 1 {
		answer = reply[1]
	}
	if reply[0] == "foreign" {
		return "", false, &ForeignError{Theirs: answer, Ours: origin}
	}
	return answer, reply[0] == "ok", nil
}

// announce adds revocations to the stream, and returns the id of the last
// entry; empty: there was nothing to add.
func (s stream) announce(ctx context.Context, origin string, all ...Revocation) (last string, err error) {
	for from := 0; from < len(all); from += streamPage {
		var args []any
		for _, r := range all[from:min(from+streamPage, len(all))] {
			args = append(args, r.TokenID, r.UserID, r.Generation, r.Until.UnixMilli())
		}
		if last, _, err = s.write(ctx, "announce revocations", announceScript, origin, args...); err != nil {
			return "", err
		}
	}
	return last, nil
}

// renew begins the epoch next unless the stream is whole and of another epoch
// than lossy, and returns the epoch in force.
func (s stream) renew(ctx context.Context, origin, next, lossy string) (epoch string, err error) {
	epoch, _, err = s.write(ctx, "renew revocations", renewScript, origin, next, lossy)
	return epoch, err
}

// beat says that everything is in the stream. It reports false, and says
// nothing, when the epoch is another or one of these entries is gone.
func (s stream) beat(ctx context.Context, origin, epoch string, now time.Time, entries ...string) (bool, error) {
	args := []any{epoch, now.UnixMilli()}
	for _, id := range entries {
		args = append(args, id)
	}
	_, done, err := s.write(ctx, "confirm revocations", beatScript, origin, args...)
	return done, err
}

// trim removes entries that cannot matter any more.
func (s stream) trim(ctx context.Context, origin string, now time.Time) error {
	_, _, err := s.write(ctx, "trim revocations", trimScript, origin, Keep.Milliseconds(), now.UnixMilli())
	return err
}

// older reports whether the id of an entry comes before another's. An id is
// milliseconds, a dash and a sequence number; none comes before all.
func older(a, b string) bool {
	number := func(id string) (n [2]uint64) {
		ms, seq, _ := strings.Cut(id, "-")
		n[0], _ = strconv.ParseUint(ms, 10, 64)
		n[1], _ = strconv.ParseUint(seq, 10, 64)
		return n
	}
	x, y := number(a), number(b)
	return x[0] < y[0] || x[0] == y[0] && x[1] < y[1]
}

// text returns a field of an entry, empty when it has none.
func text(m redis.XMessage, field string) string {
	s, _ := m.Values[field].(string)
	return s
}

// maxGeneration keeps an entry that Earlybird did not write from raising a
// credential to where it cannot be raised again.
const maxGeneration = 1 << 53

// parse reads an entry of the stream.
func parse(m redis.XMessage) (Revocation, error) {
	until, err := strconv.ParseInt(text(m, "until"), 10, 64)
	if err != nil {
		return Revocation{}, fmt.Errorf("revocation entry %s: field until is not a number", m.ID)
	}
	r := Revocation{TokenID: text(m, "jti"), UserID: text(m, "user"), Until: time.UnixMilli(until).UTC()}
	if r.TokenID != "" {
		return r, nil
	}
	r.Generation, err = strconv.ParseInt(text(m, "gen"), 10, 64)
	if err != nil || r.UserID == "" || r.Generation < 1 || r.Generation > maxGeneration {
		return Revocation{}, fmt.Errorf("revocation entry %s: neither a token nor a user's generation", m.ID)
	}
	return r, nil
}
