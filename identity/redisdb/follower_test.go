package redisdb_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/redisdb"
)

const (
	stream = "earlybird:{earlybird}:test"
	beside = "earlybird:{earlybird}:test:state"
)

// reader notes what a follower brings.
type reader struct {
	mu       sync.Mutex
	state    *redis.StringCmd
	events   []string // "start", "end of start", ids, "lost", "regained"
	states   []string // the last, and what was different before
	starting bool
	at       string // the last entry
	again    bool
	nothing  bool // there is nothing to follow
	bad      bool // the next batch cannot be read
	takes    int
	waits    []time.Duration
}

func (r *reader) Beside(ctx context.Context, pipe redis.Pipeliner) { r.state = pipe.Get(ctx, beside) }

func (r *reader) Take(_ context.Context, b redisdb.Batch) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.takes++
	switch {
	case r.nothing:
		return "", nil
	case r.bad:
		r.bad = false
		return "", errDown
	}
	if s := r.state.Val(); len(r.states) == 0 || r.states[len(r.states)-1] != s {
		r.states = append(r.states, s)
	}
	if b.Start {
		r.events, r.at = append(r.events, "start"), redisdb.StreamStart
	}
	for _, e := range b.Entries {
		r.events, r.at = append(r.events, e.ID), e.ID
	}
	if r.starting && !b.Start && !b.More {
		r.events = append(r.events, "end of start")
		r.starting = false
	}
	r.starting = r.starting || b.Start
	if r.again {
		r.again = false
		return "", nil
	}
	return r.at, nil
}

func (r *reader) note(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, what)
}

func (r *reader) saw(want ...string) func() bool {
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.Equal(r.events, want)
	}
}

func (r *reader) eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Fatalf("never: %s; events %v, states %v", what, tail(r.events), tail(r.states))
		}
	}
}

func tail(s []string) []string { return s[max(0, len(s)-20):] }

func run(t *testing.T, f *redisdb.Follower) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { f.Run(ctx) })
	t.Cleanup(done.Wait)
	t.Cleanup(cancel)
}

func (r *reader) follower(client redis.UniversalClient) *redisdb.Follower {
	return &redisdb.Follower{
		Redis: client, Stream: stream, Reader: r,
		Lost:     func(context.Context, error) { r.note("lost") },
		Regained: func(context.Context) { r.note("regained") },
		Wait: func(ctx context.Context, d time.Duration) {
			r.mu.Lock()
			r.waits = append(r.waits, d)
			r.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
		},
	}
}

func add(t *testing.T, client redis.UniversalClient, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, ID: id, Values: []any{"k", "v"}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// Checked by a cursor at the first entry of a page, and by not looking at the
// errors behind the first of the pipeline.
func TestFollower(t *testing.T) {
	for name, url := range map[string]func(t *testing.T) string{
		"redis":     func(t *testing.T) string { return testserver.Redis(t).URL() },
		"cluster":   func(t *testing.T) string { return testserver.RedisCluster(t) },
		"miniredis": func(t *testing.T) string { return "redis://" + miniredis.RunT(t).Addr() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := dial(t, url(t), "")
			var want []string
			for i := range 1000 { // a page, so the end is seen with the one after
				want = append(want, fmt.Sprintf("%d-1", i+1))
			}
			add(t, client, want...)
			var r reader
			run(t, r.follower(client))
			all := append(append([]string{"start"}, want...), "end of start")
			r.eventually(t, "all is read", r.saw(all...))

			if err := client.Set(t.Context(), beside, "one", 0).Err(); err != nil {
				t.Fatal(err)
			}
			add(t, client, "2000-1", "2000-2")
			all = append(all, "2000-1", "2000-2")
			r.eventually(t, "it is followed, and what is beside", func() bool {
				return r.saw(all...)() && slices.Equal(r.states, []string{"", "one"})
			})
			client.Set(t.Context(), beside, "two", 0)
			r.eventually(t, "what is beside is seen without an entry", func() bool {
				r.mu.Lock()
				defer r.mu.Unlock()
				return slices.Contains(r.states, "two")
			})

			r.mu.Lock()
			r.again = true
			r.mu.Unlock()
			all = append(append(all, "start"), want...)
			all = append(all, "2000-1", "2000-2", "end of start")
			r.eventually(t, "it is read again from the start", r.saw(all...))

			client.Del(t.Context(), beside)
			client.HSet(t.Context(), beside, "not", "a string")
			all = append(all, "lost")
			r.eventually(t, "a command beside that fails", r.saw(all...))
			client.Del(t.Context(), beside)
			add(t, client, "3000-1")
			all = append(all, "3000-1", "regained")
			r.eventually(t, "it goes on from the cursor", r.saw(all...))
		})
	}
}

// Without anything to follow, a Follower looks once per Block.
// Broken on purpose by leaving the pause out: it looks as fast as Redis answers.
func TestFollowerWithNothingToFollow(t *testing.T) {
	client := dial(t, "redis://"+miniredis.RunT(t).Addr(), "")
	add(t, client, "1-1")
	r := reader{nothing: true}
	f := r.follower(client)
	f.Block = func() time.Duration { return 70 * time.Millisecond }
	run(t, f)
	paused := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.waits) >= 5
	}
	r.eventually(t, "five pauses", paused)
	r.mu.Lock()
	if r.takes > len(r.waits)+1 || r.waits[0] != 70*time.Millisecond {
		t.Errorf("%d looks with pauses of %v", r.takes, r.waits)
	}
	r.nothing = false
	r.mu.Unlock()
	r.eventually(t, "it is followed once there is something", r.saw("start", "1-1", "end of start"))
}

// What cannot be read is read again, from the same cursor.
// Broken on purpose by going on from the start: 1-1 comes twice.
func TestFollowerReadsAgainWhatCouldNotBeRead(t *testing.T) {
	client := dial(t, "redis://"+miniredis.RunT(t).Addr(), "")
	add(t, client, "1-1")
	var r reader
	run(t, r.follower(client))
	r.eventually(t, "read", r.saw("start", "1-1", "end of start"))
	r.mu.Lock()
	r.bad = true
	r.mu.Unlock()
	r.eventually(t, "lost and regained", r.saw("start", "1-1", "end of start", "lost", "regained"))
	add(t, client, "2-1")
	r.eventually(t, "followed", r.saw("start", "1-1", "end of start", "lost", "regained", "2-1"))
}

// A Redis that is gone is reported once, waited for with growing pauses, and
// followed from where it was.
func TestFollowerWithoutRedis(t *testing.T) {
	server := testserver.Redis(t)
	client := dial(t, server.URL(), "")
	add(t, client, "1-1")
	var r reader
	run(t, r.follower(client))
	r.eventually(t, "read", r.saw("start", "1-1", "end of start"))
	server.Kill()
	r.eventually(t, "lost", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.waits) > 5
	})
	server.Start()
	r.eventually(t, "redis is back", func() bool { return client.Ping(t.Context()).Err() == nil })
	add(t, client, "2-1")
	r.eventually(t, "regained", r.saw("start", "1-1", "end of start", "lost", "2-1", "regained"))
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, most := range []time.Duration{100, 200, 400, 400, 400} {
		most *= time.Millisecond
		if d := r.waits[i]; d < most/2 || d > most {
			t.Errorf("wait %d: %s, want %s to %s", i+1, d, most/2, most)
		}
	}
}

// A Redis that answers nothing fails a read in bounded time.
func TestFollowerSilentRedis(t *testing.T) {
	client := dial(t, testserver.Redis(t).URL(), "")
	var r reader
	run(t, r.follower(client))
	r.eventually(t, "read", r.saw("start", "end of start"))
	if err := dial(t, "redis://"+client.(*redis.Client).Options().Addr, "").Do(t.Context(), "CLIENT", "PAUSE", "60000", "ALL").Err(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	r.eventually(t, "lost", r.saw("start", "end of start", "lost"))
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("noticed after %s", d)
	}
}
