package revocation

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
)

func onBoth(t *testing.T, test func(t *testing.T, s stream)) {
	t.Helper()
	for name, address := range map[string]func(t *testing.T) string{
		"redis-server": func(t *testing.T) string { return testserver.Redis(t).URL() },
		"miniredis":    func(t *testing.T) string { return "redis://" + miniredis.RunT(t).Addr() },
	} {
		t.Run(name, func(t *testing.T) {
			opt, err := redis.ParseURL(address(t))
			if err != nil {
				t.Fatal(err)
			}
			client := redis.NewClient(opt)
			t.Cleanup(func() { _ = client.Close() })
			test(t, stream{client})
		})
	}
}

// fill makes the stream whole, with these entries.
func fill(t *testing.T, s stream, all ...Revocation) {
	t.Helper()
	token, err := s.begin(t.Context(), "filling")
	if err != nil || token == "" {
		t.Fatalf("begin = %q, %v", token, err)
	}
	if err := s.announce(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	if marked, err := s.mark(t.Context(), token); err != nil || !marked {
		t.Fatalf("mark = %t, %v", marked, err)
	}
}

func wantWhole(t *testing.T, s stream, want bool) {
	t.Helper()
	st, err := s.state(t.Context())
	if err != nil || st.whole != want {
		t.Errorf("state = %+v, %v; want whole %t", st, err, want)
	}
}

func TestTrimKeepsTheStreamWhole(t *testing.T) {
	onBoth(t, func(t *testing.T, s stream) {
		// What is in the stream when a filling begins is counted.
		old := time.Now().Add(-Keep - time.Minute).UnixMilli()
		for _, ms := range []int64{old, old + 1, time.Now().Add(time.Minute - Keep).UnixMilli()} {
			err := s.redis.XAdd(t.Context(), &redis.XAddArgs{Stream: KeyStream, ID: formatID(ms), Values: []any{"jti", "T", "until", ms}}).Err()
			if err != nil {
				t.Fatal(err)
			}
		}
		fill(t, s, Revocation{TokenID: "new"})
		wantWhole(t, s, true)
		for range 2 {
			if err := s.trim(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantWhole(t, s, true)
		}
		if n := s.redis.XLen(t.Context(), KeyStream).Val(); n != 2 {
			t.Errorf("%d entries after trimming, want the 2 that may still matter", n)
		}
	})
}

func formatID(ms int64) string { return strconv.FormatInt(ms, 10) + "-1" }

// A filling is marked only if nothing went since it began.
func TestMark(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(ctx context.Context, s stream) error
		want  bool
	}{
		{"nothing happened", func(context.Context, stream) error { return nil }, true},
		{"another announced meanwhile", func(ctx context.Context, s stream) error { return s.announce(ctx, Revocation{TokenID: "B"}) }, true},
		{"emptied", func(ctx context.Context, s stream) error { return s.redis.FlushAll(ctx).Err() }, false},
		{"emptied, and another began", func(ctx context.Context, s stream) error {
			if err := s.redis.FlushAll(ctx).Err(); err != nil {
				return err
			}
			_, err := s.begin(ctx, "other")
			return err
		}, false},
		{"an entry went", func(ctx context.Context, s stream) error { return s.redis.XTrimMaxLen(ctx, KeyStream, 0).Err() }, false},
		{"another began", func(ctx context.Context, s stream) error { _, err := s.begin(ctx, "other"); return err }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, s stream) {
				token, err := s.begin(t.Context(), "filling")
				if err != nil {
					t.Fatal(err)
				}
				if err := s.announce(t.Context(), Revocation{TokenID: "A"}); err != nil {
					t.Fatal(err)
				}
				wantWhole(t, s, false)
				if err := test.spoil(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				if marked, err := s.mark(t.Context(), token); err != nil || marked != test.want {
					t.Errorf("mark = %t, %v; want %t", marked, err, test.want)
				}
				wantWhole(t, s, test.want)
			})
		})
	}
}

// What lost an entry is not whole again because somebody begins to fill it.
func TestBeginDoesNotHideALoss(t *testing.T) {
	onBoth(t, func(t *testing.T, s stream) {
		fill(t, s, Revocation{TokenID: "A"}, Revocation{TokenID: "B"})
		if token, err := s.begin(t.Context(), "late"); err != nil || token != "" {
			t.Errorf("begin on a whole stream = %q, %v; want nothing to do", token, err)
		}
		if err := s.redis.XTrimMaxLen(t.Context(), KeyStream, 1).Err(); err != nil {
			t.Fatal(err)
		}
		wantWhole(t, s, false)
		if token, err := s.begin(t.Context(), "again"); err != nil || token != "again" {
			t.Fatalf("begin = %q, %v", token, err)
		}
		wantWhole(t, s, false)
	})
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name   string
		values map[string]any
		want   Revocation
		ok     bool
	}{
		{"token", map[string]any{"jti": "T", "until": "1000"}, Revocation{TokenID: "T", Until: time.Unix(1, 0).UTC()}, true},
		{"generation", map[string]any{"user": "u", "gen": "3", "until": "1000"}, Revocation{UserID: "u", Generation: 3, Until: time.Unix(1, 0).UTC()}, true},
		{"no until", map[string]any{"jti": "T"}, Revocation{}, false},
		{"neither", map[string]any{"until": "1000"}, Revocation{}, false},
		{"no number", map[string]any{"user": "u", "gen": "x", "until": "1000"}, Revocation{}, false},
		{"the largest generation", map[string]any{"user": "u", "gen": "9007199254740992", "until": "1000"}, Revocation{UserID: "u", Generation: 1 << 53, Until: time.Unix(1, 0).UTC()}, true},
		{"too large a generation", map[string]any{"user": "u", "gen": "9007199254740993", "until": "1000"}, Revocation{}, false},
		{"generation zero", map[string]any{"user": "u", "gen": "0", "until": "1000"}, Revocation{}, false},
		{"no user", map[string]any{"gen": "3", "until": "1000"}, Revocation{}, false},
		{"nothing", nil, Revocation{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parse(redis.XMessage{ID: "1-1", Values: test.values})
			if (err == nil) != test.ok || got != test.want {
				t.Errorf("parse = %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

// between runs something around the first reading of a page.
type between struct {
	before, after func()
}

func (b *between) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *between) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (b *between) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "xrange" || b.before == nil {
			return next(ctx, cmd)
		}
		before := b.before
		b.before = nil
		before()
		err := next(ctx, cmd)
		b.after()
		return err
	}
}

// A stream that is emptied before it is read and filled again right after was
// whole when the reader looked before, and when it looked after.
func TestEmptiedWhileRead(t *testing.T) {
	onBoth(t, func(t *testing.T, s stream) {
		fill(t, s, Revocation{TokenID: "T"})
		opt := s.redis.(*redis.Client).Options()
		client := redis.NewClient(&redis.Options{Addr: opt.Addr})
		t.Cleanup(func() { _ = client.Close() })
		client.AddHook(&between{
			before: func() { s.redis.FlushAll(t.Context()) },
			after: func() {
				token, err := s.begin(t.Context(), "another")
				if err == nil {
					err = s.announce(t.Context(), Revocation{TokenID: "T", Until: time.Now().Add(time.Hour)})
				}
				if err == nil {
					_, err = s.mark(t.Context(), token)
				}
				if err != nil {
					t.Error(err)
				}
			},
		})
		reader := &tail{feed: NewFeed(FeedConfig{Redis: client})}
		if err := reader.check(t.Context()); err != nil || reader.feed.Ready() {
			t.Fatalf("ready %t, %v: nothing can be known", reader.feed.Ready(), err)
		}
		if err := reader.check(t.Context()); err != nil || !reader.feed.Ready() || !reader.feed.Revoked("T", "", 0) {
			t.Errorf("ready %t, %v: not healed by the next look", reader.feed.Ready(), err)
		}
	})
}

// A server that was replaced, took over what its replacement had, and is the
// primary again has the run id it always had, and may have lost revocations.
// Checked by comparing run ids alone.
func TestFailBackIsNoticed(t *testing.T) {
	atOnce := testserver.WithRedisArgs("--repl-diskless-sync-delay", "0")
	one, other := testserver.Redis(t, atOnce), testserver.Redis(t, atOnce)
	client := func(server *testserver.RedisServer) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + strconv.Itoa(server.Port())})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	first, second := client(one), client(other)
	takeOver := func(to *redis.Client, server *testserver.RedisServer) {
		t.Helper()
		if err := to.Do(t.Context(), "REPLICAOF", "127.0.0.1", server.Port()).Err(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(30 * time.Second); !strings.Contains(to.Info(t.Context(), "replication").Val(), "master_link_status:up"); {
			if time.Now().After(deadline) {
				t.Fatal("the replica does not follow")
			}
		}
		if err := to.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
			t.Fatal(err)
		}
	}
	s := stream{first}
	fill(t, s)
	wantWhole(t, s, true)
	takeOver(second, one)
	takeOver(first, other)
	wantWhole(t, s, false)
}
