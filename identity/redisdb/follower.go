package redisdb

import (
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

// Batch is what one successful read of a stream brought.
type Batch struct {
	Entries []redis.XMessage
	// Start: nothing was read yet of a reading from the start that begins now.
	// There are no entries.
	Start bool
	// More: there may be more entries than these already.
	More bool
}

// Reader takes what a Follower reads. Its methods are called one at a time.
type Reader interface {
	// Beside queues the commands that are to run right after each read of the
	// stream: in the same round trip, on the same connection, and so on the same
	// server, though not in one transaction. Their keys share the stream's slot.
	// Scripts need Eval: EVALSHA is not tried again as EVAL in a pipeline.
	Beside(ctx context.Context, pipe redis.Pipeliner)

	// Take handles a batch, after the commands of Beside have succeeded; their
	// answers are in what the pipeline returned there. Entries come in order.
	// It returns true to have the stream read from its start.
	Take(ctx context.Context, b Batch) (again bool)
}

// Follower reads a stream from its start, or from a cursor, and follows it from
// then on. While Redis fails it tries again, for as long as it takes.
type Follower struct {
	Redis  redis.UniversalClient
	Stream string
	Reader Reader
	// Cursor is the id of the entry after which to begin; empty: a reading from
	// the start.
	Cursor string
	// Block is how long a read waits for an entry at most; nil: always 500 ms,
	// which is also the most.
	Block func() time.Duration
	// Lost is called when Redis begins to fail, and Regained when it answers
	// again, before the Take of what it answered. nil: they are not called.
	Lost     func(ctx context.Context, err error)
	Regained func(ctx context.Context)
	// Wait waits between attempts, until ctx ends; nil: by the clock.
	Wait func(ctx context.Context, d time.Duration)
}

// Run follows the stream until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	c := cursor{at: f.Cursor, tail: f.Cursor != ""}
	failing, retry := false, retryFirst
	for {
		batch, err := f.read(ctx, c)
		if ctx.Err() != nil {
			return
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
		failing, retry = false, retryFirst
		c = c.after(batch)
		if f.Reader.Take(ctx, batch) {
			c = cursor{}
		}
	}
}

// cursor is how far a Follower has read.
type cursor struct {
	at   string // the last entry that was read; empty: a reading from the start begins
	tail bool   // the end was reached: wait for new entries
}

// streamStart is the id before the first that an entry can have.
const streamStart = "0-0"

func (c cursor) after(b Batch) cursor {
	if b.Start {
		return cursor{at: streamStart}
	}
	if n := len(b.Entries); n > 0 {
		c.at = b.Entries[n-1].ID
	}
	c.tail = c.tail || !b.More
	return c
}

// read makes one round trip.
func (f *Follower) read(ctx context.Context, c cursor) (Batch, error) {
	block := followBlock
	if f.Block != nil {
		block = max(min(f.Block(), followBlock), time.Millisecond) // 0 would wait for ever
	}
	bounded, cancel := context.WithTimeout(ctx, block+connectTimeout)
	defer cancel()
	pipe := f.Redis.Pipeline()
	var page *redis.XMessageSliceCmd
	var news *redis.XStreamSliceCmd
	switch {
	case c.at == "":
	case c.tail:
		news = pipe.XRead(bounded, &redis.XReadArgs{Streams: []string{f.Stream, c.at}, Count: followPage, Block: block})
	default:
		page = pipe.XRangeN(bounded, f.Stream, "("+c.at, "+", followPage)
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
	b := Batch{Start: c.at == ""}
	if page != nil {
		b.Entries = page.Val()
	}
	if news != nil && len(news.Val()) > 0 {
		b.Entries = news.Val()[0].Messages
	}
	b.More = len(b.Entries) == followPage
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
