package campaign

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// DefaultClaimTimeout is the time limit of a claim when none is configured.
const DefaultClaimTimeout = 250 * time.Millisecond

// ClaimerConfig configures a Claimer.
type ClaimerConfig struct {
	Redis redis.UniversalClient // from Connect, so that commands obey their deadline
	// Replicas is how many replicas must hold a grant before a client is told
	// of it. 0: the server's own append-only file is enough.
	Replicas int
	// Timeout is the longest a claim may take. 0: DefaultClaimTimeout.
	Timeout time.Duration
	Log     *slog.Logger // nil: slog.Default()
}

// Claimer decides who is among the first, by one script in Redis.
type Claimer struct {
	cfg ClaimerConfig
}

// NewClaimer returns a Claimer.
func NewClaimer(cfg ClaimerConfig) *Claimer {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultClaimTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Claimer{cfg: cfg}
}

// Claim makes a login of this user count, and says where the user stands. It
// may be repeated: the same user gets the same answer.
//
// It never fails and takes no longer than the time limit: what cannot be told
// in time, or is not as durable as configured, is StatePending. identity makes
// good a claim that was lost that way.
func (c *Claimer) Claim(ctx context.Context, userID string) Outcome {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	out, err := c.claim(ctx, userID)
	if err != nil {
		c.cfg.Log.DebugContext(ctx, "claim is pending", "err", err)
		return Outcome{State: StatePending}
	}
	return out
}

func (c *Claimer) claim(ctx context.Context, userID string) (Outcome, error) {
	keys := []string{KeyCampaign, KeyArrivals, KeyOutbox}
	if c.cfg.Replicas == 0 {
		reply, err := claimScript.Run(ctx, c.cfg.Redis, keys, userID, "0").Text()
		if err != nil {
			return Outcome{}, err
		}
		return parseClaim(reply)
	}
	reply, err := c.durably(ctx, keys, userID)
	if err != nil {
		return Outcome{}, err
	}
	return parseClaim(reply)
}

// durably runs the claim and a WAIT on one connection: WAIT speaks of the
// writes of the connection it is sent on, and on another one answers at once.
func (c *Claimer) durably(ctx context.Context, keys []string, userID string) (string, error) {
	conn, err := c.conn(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // back to the pool
	run := func(eval func(redis.Pipeliner) *redis.Cmd) (string, error) {
		pipe := conn.Pipeline()
		claim := eval(pipe)
		wait := pipe.Do(ctx, "WAIT", c.cfg.Replicas, c.cfg.Timeout.Milliseconds())
		if _, err := pipe.Exec(ctx); err != nil {
			return "", err
		}
		if n, err := wait.Int(); err != nil || n < c.cfg.Replicas {
			return "", fmt.Errorf("%d of %d replicas hold the claim", n, c.cfg.Replicas)
		}
		return claim.Text()
	}
	reply, err := run(func(p redis.Pipeliner) *redis.Cmd { return claimScript.EvalSha(ctx, p, keys, userID, "1") })
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		return run(func(p redis.Pipeliner) *redis.Cmd { return claimScript.Eval(ctx, p, keys, userID, "1") })
	}
	return reply, err
}

// conn takes one connection to the server that holds the keys.
func (c *Claimer) conn(ctx context.Context) (*redis.Conn, error) {
	switch client := c.cfg.Redis.(type) {
	case *redis.Client:
		return client.Conn(), nil
	case *redis.ClusterClient:
		node, err := client.MasterForKey(ctx, KeyCampaign)
		if err != nil {
			return nil, err
		}
		return node.Conn(), nil
	default:
		return nil, fmt.Errorf("cannot wait for replicas with a %T", client)
	}
}

var errReply = errors.New("unexpected answer of a script")

// parseClaim reads the answer of claim.lua: the state, and after "granted"
// the campaign id, the rank and the discount.
func parseClaim(reply string) (Outcome, error) {
	state, rest, _ := strings.Cut(reply, " ")
	switch State(state) {
	case StateFull, StateNone, StatePaused, StateEnded, StatePending:
		return Outcome{State: State(state)}, nil
	case StateGranted:
	default:
		return Outcome{}, errReply
	}
	id, numbers, _ := strings.Cut(rest, " ")
	first, second, _ := strings.Cut(numbers, " ")
	rank, err := strconv.ParseInt(first, 10, 64)
	discount, err2 := strconv.ParseInt(second, 10, 64)
	if id == "" || rank < 1 || err != nil || err2 != nil {
		return Outcome{}, errReply
	}
	return Outcome{State: StateGranted, CampaignID: id, Rank: rank, Discount: discount}, nil
}
