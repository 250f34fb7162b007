package redisdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// followBlock is the longest a read waits for an entry, and so the longest
	// a change of what is read beside the stream goes unseen.
	followBlock = 500 * time.Millisecond
	// followPage is the most entries of one read.
	followPage = 1000
	// Between attempts while Redis fails: doubled each time, less up to a half
	// at random.
	retryFirst, retryMost = 100 * time.Millisecond, 400 * time.Millisecond
)

// StreamStart is the id before the first that an entry can have.
const StreamStart = "0-0"

// Batch is what one successful read brought.
type Batch struct {
	// Entries are those that follow the cursor, in order.
	Entries []redis.XMessage
	// Start: there was no cursor, so only what is beside the stream was read.
	Start bool
	// More: there may be more entries than these already.
	More bool
}

// Reader takes what a Follower reads, and decides where it reads on. Its methods
// are called one at a time.
type Reader interface {
	// Beside queues the commands that are to run right after each read of the
	// stream: in the same round trip, on the same connection, and so on the same
	// server, though not in one transaction. Their keys share the stream's slot.
	// Scripts need Eval or EvalRO: EVALSHA is not tried again as EVAL in a pipeline.
	Beside(ctx context.Context, pipe redis.Pipeliner)

	// Take handles a batch, after the commands of Beside have succeeded; their
	// answers are in what the pipeline returned there. It returns the cursor: the
	// id of the entry after which to read on, such as StreamStart. With an empty
	// one, only what is beside the stream is read next. When a read without a
	// cursor yields none either, there is nothing to follow, and the Follower
	// pauses for Block. An error counts as one of Redis: the read is made again.
	Take(ctx context.Context, b Batch) (cursor string, err error)
}

// Follower follows a stream from wherever its Reader says. While Redis fails it
// tries again, for as long as it takes.
type Follower struct {
	Redis  redis.UniversalClient
	Stream string
	Reader Reader
	// Block is how long a read waits for an entry at most; nil: always 500 ms,
	// which is also the most.
	Block func() time.Duration
	// Page is the most entries of one read; 0: 1,000.
	Page int64
	// Lost is called when following begins to fail, and Regained when it succeeds
	// again, after the Take that did. nil: they are not called.
	Lost     func(ctx context.Context, err error)
	Regained func(ctx context.Context)
	// Wait waits between attempts, until ctx ends; nil: by the clock.
	Wait func(ctx context.Context, d time.Duration)
}

// Run follows the stream until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	cursor, failing, retry := "", false, retryFirst
	for {
		batch, err := f.read(ctx, cursor)
		if ctx.Err() != nil {
			return
		}
		next := ""
		if err == nil {
			next, err = f.Reader.Take(ctx, batch)
		}
		if err != nil {
			if !failing && f.Lost != nil {
				f.Lost(ctx, err)
			}
			failing = true
			f.wait(ctx, retry/2+rand.N(retry/2)) //nolint:gosec // G404: spreads attempts, guards nothing
			retry = min(2*retry, retryMost)
			continue
		}
		if failing && f.Regained != nil {
			f.Regained(ctx)
		}
		cursor, failing, retry = next, false, retryFirst
		if batch.Start && cursor == "" {
			f.wait(ctx, f.block())
		}
	}
}

func (f *Follower) block() time.Duration {
	if f.Block == nil {
		return followBlock
	}
	return max(min(f.Block(), followBlock), time.Millisecond) // Redis takes 0 for no limit
}

// read makes one round trip.
func (f *Follower) read(ctx context.Context, cursor string) (Batch, error) {
	block, most := f.block(), cmp.Or(f.Page, followPage)
	bounded, cancel := context.WithTimeout(ctx, block+connectTimeout)
	defer cancel()
	pipe := f.Redis.Pipeline()
	var page *redis.XStreamSliceCmd
	if cursor != "" {
		page = pipe.XRead(bounded, &redis.XReadArgs{Streams: []string{f.Stream, cursor}, Count: most, Block: block})
	}
	f.Reader.Beside(bounded, pipe)
	cmds, err := pipe.Exec(bounded)
	if err != nil && !errors.Is(err, redis.Nil) {
		return Batch{}, fmt.Errorf("follow %s: %w", f.Stream, err)
	}
	for _, cmd := range cmds { // Exec returns the first error, and no news is one
		if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return Batch{}, fmt.Errorf("follow %s: %w", f.Stream, err)
		}
	}
	b := Batch{Start: cursor == ""}
	if page != nil && len(page.Val()) > 0 {
		b.Entries = page.Val()[0].Messages
	}
	b.More = int64(len(b.Entries)) == most
	return b, nil
}

func (f *Follower) wait(ctx context.Context, d time.Duration) {
	if f.Wait != nil {
		f.Wait(ctx, d)
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
