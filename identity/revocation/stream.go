package revocation

import (
	"context"
	_ "embed" // the scripts
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/outage"
	"github.com/earlybird/earlybird/identity/serverlua"
)

// The keys in Redis. Both carry the hash tag of the project's other keys, so
// that one script may use them together on Redis Cluster.
const (
	KeyStream = "earlybird:{earlybird}:revocations"       // stream: jti until, or user gen until
	KeyState  = "earlybird:{earlybird}:revocations:state" // hash: run_id, epoch and count; filling, filling_on
)

var (
	//go:embed lua/state.lua
	stateLua string
	//go:embed lua/announce.lua
	announceLua string
	//go:embed lua/begin.lua
	beginLua string
	//go:embed lua/mark.lua
	markLua string
	//go:embed lua/trim.lua
	trimLua string
)

var (
	stateScript    = redis.NewScript(serverlua.Functions + stateLua)
	announceScript = redis.NewScript(announceLua)
	beginScript    = redis.NewScript(serverlua.Functions + beginLua)
	markScript     = redis.NewScript(serverlua.Functions + markLua)
	trimScript     = redis.NewScript(serverlua.Functions + trimLua)

	keys = []string{KeyStream, KeyState}
)

const (
	streamPage    = 1000            // entries read or written at once
	streamTimeout = 2 * time.Second // of one command; a blocking read may take as much longer
)

// errReply reports a script's answer that cannot be read.
var errReply = errors.New("unexpected reply")

// stream is the revocations in Redis. Its methods return an *outage.Error when
// Redis does not answer.
type stream struct{ redis redis.UniversalClient }

// state is what the stream is worth at one moment.
type state struct {
	whole bool   // it holds everything that was stored when it was filled, and since
	runID string // names the running server
	epoch string // names the filling
}

func (s stream) state(ctx context.Context) (state, error) {
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	reply, err := stateScript.Run(ctx, s.redis, keys).Slice()
	if err == nil && len(reply) != 3 {
		err = errReply
	}
	if err != nil {
		return state{}, outage.New("redis", "read revocation state", err)
	}
	whole, _ := reply[0].(int64)
	runID, _ := reply[1].(string)
	epoch, _ := reply[2].(string)
	return state{whole: whole == 1, runID: runID, epoch: epoch}, nil
}

// announce adds revocations to the stream.
func (s stream) announce(ctx context.Context, all ...Revocation) error {
	for from := 0; from < len(all); from += streamPage {
		var args []any
		for _, r := range all[from:min(from+streamPage, len(all))] {
			args = append(args, r.TokenID, r.UserID, r.Generation, r.Until.UnixMilli())
		}
		if err := s.run(ctx, announceScript, args...); err != nil {
			return outage.New("redis", "announce revocations", err)
		}
	}
	return nil
}

func (s stream) run(ctx context.Context, script *redis.Script, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	return script.Run(ctx, s.redis, keys, args...).Err()
}

// begin returns the token that mark wants after everything was announced, or
// "" when the stream is whole already.
func (s stream) begin(ctx context.Context, token string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	token, err := beginScript.Run(ctx, s.redis, keys, token).Text()
	if err != nil {
		return "", outage.New("redis", "begin to fill revocations", err)
	}
	return token, nil
}

// mark reports whether the stream is whole now. It is not when it was emptied,
// or the server restarted, since the token was given.
func (s stream) mark(ctx context.Context, token string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	answer, err := markScript.Run(ctx, s.redis, keys, token).Text()
	if err != nil {
		return false, outage.New("redis", "mark revocations", err)
	}
	return answer == "marked", nil
}

// trim removes entries that cannot matter any more.
func (s stream) trim(ctx context.Context) error {
	if err := s.run(ctx, trimScript, Keep.Milliseconds()); err != nil {
		return outage.New("redis", "trim revocations", err)
	}
	return nil
}

// page returns the entries after one, without waiting.
func (s stream) page(ctx context.Context, after string) ([]redis.XMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	entries, err := s.redis.XRangeN(ctx, KeyStream, "("+after, "+", streamPage).Result()
	if err != nil {
		return nil, outage.New("redis", "read revocations", err)
	}
	return entries, nil
}

// next returns the entries after one, and waits for the first for so long.
func (s stream) next(ctx context.Context, after string, wait time.Duration) ([]redis.XMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+streamTimeout)
	defer cancel()
	streams, err := s.redis.XRead(ctx, &redis.XReadArgs{
		Streams: []string{KeyStream, after}, Count: streamPage, Block: wait,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, outage.New("redis", "follow revocations", err)
	}
	if len(streams) == 0 {
		return nil, nil
	}
	return streams[0].Messages, nil
}

// maxGeneration keeps an entry that nobody of ours wrote from raising a
// credential to where it cannot be raised again.
const maxGeneration = 1 << 53

// parse reads an entry of the stream.
func parse(m redis.XMessage) (Revocation, error) {
	text := func(name string) string { s, _ := m.Values[name].(string); return s }
	until, err := strconv.ParseInt(text("until"), 10, 64)
	if err != nil {
		return Revocation{}, fmt.Errorf("revocation entry %s: field until is not a number", m.ID)
	}
	r := Revocation{TokenID: text("jti"), UserID: text("user"), Until: time.UnixMilli(until).UTC()}
	if r.TokenID != "" {
		return r, nil
	}
	r.Generation, err = strconv.ParseInt(text("gen"), 10, 64)
	if err != nil || r.UserID == "" || r.Generation < 1 || r.Generation > maxGeneration {
		return Revocation{}, fmt.Errorf("revocation entry %s: neither a token nor a user's generation", m.ID)
	}
	return r, nil
}
