package campaign

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/trip"
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

// Claimer decides who is among the first, by one script in Redis. It is safe
// for concurrent use, and a process needs but one: claims share trips to Redis.
type Claimer struct {
	cfg   ClaimerConfig
	trips *trip.Line[string, Outcome] // by user id
}

// NewClaimer returns a Claimer.
func NewClaimer(cfg ClaimerConfig) *Claimer {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultClaimTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	c := &Claimer{cfg: cfg}
	c.trips = c.newTrips()
	return c
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
	out, err := c.trips.Go(ctx, userID)
	if err != nil {
		return Outcome{State: StatePending}
	}
	return out
}

// claim runs the script for each of the users, in one pipeline. What cannot be
// told of a user is StatePending in the answers; the error is the first reason.
func (c *Claimer) claim(ctx context.Context, users []string) ([]Outcome, error) {
	answers := pending(len(users))
	var conn pipeliner = c.cfg.Redis
	if c.cfg.Replicas > 0 {
		one, err := c.conn(ctx)
		if err != nil {
			return answers, err
		}
		defer func() { _ = one.Close() }() // back to the pool
		conn = one
	}
	replies, err := c.run(ctx, conn, users, claimScript.EvalSha)
	if slices.ContainsFunc(replies, isNoScript) {
		replies, err = c.run(ctx, conn, users, claimScript.Eval)
	}
	if err != nil {
		return answers, err
	}
	for i, reply := range replies {
		text, one := reply.Text()
		if one == nil {
			answers[i], one = parseClaim(text)
		}
		err = cmp.Or(err, one)
	}
	return answers, err
}

func pending(n int) []Outcome { return slices.Repeat([]Outcome{{State: StatePending}}, n) }

// pipeliner is a client, or one connection of it.
type pipeliner interface{ Pipeline() redis.Pipeliner }

// evaluation calls the script by its text, or by its hash.
type evaluation func(ctx context.Context, c redis.Scripter, keys []string, args ...any) *redis.Cmd

// run sends one pipeline. With replicas a WAIT ends it: WAIT speaks of the
// writes of the connection it is sent on, and on another one answers at once.
// The error is of the WAIT; each reply has its own.
func (c *Claimer) run(ctx context.Context, conn pipeliner, users []string, eval evaluation) ([]*redis.Cmd, error) {
	durable := c.cfg.Replicas > 0
	pipe := conn.Pipeline()
	keys := []string{KeyCampaign, KeyArrivals, KeyOutbox}
	fence := "0"
	if durable {
		fence = "1"
	}
	replies := make([]*redis.Cmd, len(users))
	for i, user := range users {
		replies[i] = eval(ctx, pipe, keys, user, fence)
	}
	if !durable {
		_, _ = pipe.Exec(ctx)
		return replies, nil
	}
	wait := pipe.Do(ctx, "WAIT", c.cfg.Replicas, c.cfg.Timeout.Milliseconds())
	_, _ = pipe.Exec(ctx)
	n, err := wait.Int()
	if err == nil && n < c.cfg.Replicas {
		err = fmt.Errorf("%d of %d replicas hold the claim", n, c.cfg.Replicas)
	}
	return replies, err
}

func isNoScript(reply *redis.Cmd) bool { return redis.HasErrorPrefix(reply.Err(), "NOSCRIPT") }

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
		return Outcome{State: StatePending}, errReply
	}
	id, numbers, _ := strings.Cut(rest, " ")
	first, second, _ := strings.Cut(numbers, " ")
	rank, err := strconv.ParseInt(first, 10, 64)
	discount, err2 := strconv.ParseInt(second, 10, 64)
	if id == "" || rank < 1 || err != nil || err2 != nil {
		return Outcome{State: StatePending}, errReply
	}
	return Outcome{State: StateGranted, CampaignID: id, Rank: rank, Discount: discount}, nil
}
