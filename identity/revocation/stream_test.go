package revocation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/redisdb"
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

const here = "the origin of this database"

// fill begins an epoch, with these entries, and returns the id of the last.
func fill(t *testing.T, s stream, epoch string, all ...Revocation) string {
	t.Helper()
	if got, err := s.renew(t.Context(), here, epoch, ""); err != nil || got != epoch {
		t.Fatalf("renew = %q, %v", got, err)
	}
	last, err := s.announce(t.Context(), here, all...)
	if err != nil {
		t.Fatal(err)
	}
	return last
}

func stateNow(t *testing.T, s stream) State {
	t.Helper()
	st, err := s.state(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func wantWhole(t *testing.T, s stream, want bool) {
	t.Helper()
	if st := stateNow(t, s); st.Whole != want {
		t.Errorf("state = %+v, want whole %t", st, want)
	}
}

func TestTrimKeepsTheStreamWhole(t *testing.T) {
	onBoth(t, func(t *testing.T, s stream) {
		// What is in the stream when an epoch begins is counted.
		old := time.Now().Add(-Keep - time.Minute).UnixMilli()
		for _, ms := range []int64{old, old + 1, time.Now().Add(time.Minute - Keep).UnixMilli()} {
			err := s.redis.XAdd(t.Context(), &redis.XAddArgs{Stream: KeyStream, ID: formatID(ms), Values: []any{"jti", "T", "until", ms}}).Err()
			if err != nil {
				t.Fatal(err)
			}
		}
		fill(t, s, "one", Revocation{TokenID: "new"})
		wantWhole(t, s, true)
		// Nothing matters any more by one clock, and everything by the other. Checked
		// by going by Redis's alone.
		if err := s.trim(t.Context(), here, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		if n := s.redis.XLen(t.Context(), KeyStream).Val(); n != 5 {
			t.Errorf("%d entries after trimming by clocks that differ, want all 5", n)
		}
		for range 2 {
			if err := s.trim(t.Context(), here, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			wantWhole(t, s, true)
		}
		if n := s.redis.XLen(t.Context(), KeyStream).Val(); n != 3 {
			t.Errorf("%d entries after trimming, want the 2 that may still matter and the one that begins the epoch", n)
		}
	})
}

func formatID(ms int64) string { return strconv.FormatInt(ms, 10) + "-1" }

// A new epoch begins when entries are missing, and only then. Checked by leaving
// out each condition of renew.lua.
func TestRenew(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, s stream) error
		lossy string
		want  string
		left  int64
	}{
		{"whole", func(*testing.T, stream) error { return nil }, "", "one", 3},
		{"whole, another epoch was lossy", func(*testing.T, stream) error { return nil }, "zero", "one", 3},
		{"lossy", func(*testing.T, stream) error { return nil }, "one", "two", 4},
		{"emptied", func(t *testing.T, s stream) error { return s.redis.FlushAll(t.Context()).Err() }, "", "two", 1},
		{"an entry went", func(t *testing.T, s stream) error { return s.redis.XTrimMaxLen(t.Context(), KeyStream, 2).Err() }, "", "two", 3},
		{"the stream went", func(t *testing.T, s stream) error { return s.redis.Del(t.Context(), KeyStream).Err() }, "", "two", 1},
		{"the state went", func(t *testing.T, s stream) error { return s.redis.Del(t.Context(), KeyState).Err() }, "", "two", 4},
		{"announced into an emptied one", func(t *testing.T, s stream) error {
			s.redis.FlushAll(t.Context())
			_, err := s.announce(t.Context(), here, Revocation{TokenID: "C"})
			return err
		}, "", "two", 2},
		{"an earlier version's", func(t *testing.T, s stream) error {
			s.redis.Del(t.Context(), KeyState)
			return s.redis.HSet(t.Context(), KeyState, "run_id", "a/b", "epoch", "old", "count", 3).Err()
		}, "", "two", 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, s stream) {
				fill(t, s, "one", Revocation{TokenID: "A"}, Revocation{TokenID: "B"})
				if _, err := s.beat(t.Context(), here, "one", noon); err != nil {
					t.Fatal(err)
				}
				if err := test.spoil(t, s); err != nil {
					t.Fatal(err)
				}
				wantWhole(t, s, test.want == "one" || test.lossy != "")
				got, err := s.renew(t.Context(), here, "two", test.lossy)
				st := stateNow(t, s)
				if err != nil || got != test.want || !st.Whole || st.Epoch != test.want || st.Origin != here {
					t.Errorf("renew = %q, %v, then %+v; want epoch %q", got, err, st, test.want)
				}
				if st.Beat.IsZero() != (test.want == "two") {
					t.Errorf("beat %s in epoch %s", st.Beat, st.Epoch)
				}
				all := s.redis.XRange(t.Context(), KeyStream, "-", "+").Val()
				if int64(len(all)) != test.left || all[len(all)-1].ID != st.last {
					t.Errorf("entries %v, last %s; want %d", all, st.last, test.left)
				}
				if s.redis.HExists(t.Context(), KeyState, "run_id").Val() {
					t.Error("what an earlier version noted is still there")
				}
			})
		})
	}
}

// A beat is raised only while what it rests on is there. Checked by leaving out
// each condition of beat.lua.
func TestBeat(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, s stream, last string) error
		epoch string
		want  bool
	}{
		{"nothing happened", func(*testing.T, stream, string) error { return nil }, "one", true},
		{"another announced meanwhile", func(t *testing.T, s stream, _ string) error {
			_, err := s.announce(t.Context(), here, Revocation{TokenID: "C"})
			return err
		}, "one", true},
		{"another epoch", func(*testing.T, stream, string) error { return nil }, "zero", false},
		{"emptied", func(t *testing.T, s stream, _ string) error { return s.redis.FlushAll(t.Context()).Err() }, "one", false},
		{"an entry went", func(t *testing.T, s stream, _ string) error {
			return s.redis.XTrimMaxLen(t.Context(), KeyStream, 2).Err()
		}, "one", false},
		{"rolled back by the last entry", func(t *testing.T, s stream, last string) error {
			s.redis.XDel(t.Context(), KeyStream, last)
			s.redis.HIncrBy(t.Context(), KeyState, "count", -1)
			return s.redis.HSet(t.Context(), KeyState, "last", "1-1").Err()
		}, "one", false},
		{"trimmed, and nothing came after", func(t *testing.T, s stream, _ string) error {
			s.redis.XTrimMaxLen(t.Context(), KeyStream, 0)
			return s.redis.HSet(t.Context(), KeyState, "count", 0).Err()
		}, "one", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, s stream) {
				last := fill(t, s, "one", Revocation{TokenID: "A"}, Revocation{TokenID: "B"})
				if err := test.spoil(t, s, last); err != nil {
					t.Fatal(err)
				}
				for i, now := range []time.Time{noon, noon.Add(-time.Hour)} { // it rises by a slow clock too
					done, err := s.beat(t.Context(), here, test.epoch, now, last)
					if err != nil || done != test.want {
						t.Errorf("beat = %t, %v; want %t", done, err, test.want)
					}
					want := noon.Add(time.Duration(i) * time.Millisecond)
					if st := stateNow(t, s); test.want && !st.Beat.Equal(want) || !test.want && !st.Beat.IsZero() {
						t.Errorf("beat at %s, want %s if any", st.Beat, want)
					}
				}
			})
		})
	}
}

// Nothing is written to the Redis of another database. Checked by an origin.lua
// that lets everybody pass.
func TestForeignIsNotTouched(t *testing.T) {
	onBoth(t, func(t *testing.T, s stream) {
		last := fill(t, s, "one", Revocation{TokenID: "A"})
		held := func() string {
			return fmt.Sprint(s.redis.HGetAll(t.Context(), KeyState).Val(), s.redis.XRange(t.Context(), KeyStream, "-", "+").Val())
		}
		before := held()
		const other = "another"
		for name, write := range map[string]func() error{
			"announce": func() error {
				_, err := s.announce(t.Context(), other, Revocation{TokenID: "B"})
				return err
			},
			"renew": func() error { _, err := s.renew(t.Context(), other, "two", "one"); return err },
			"beat":  func() error { _, err := s.beat(t.Context(), other, "one", noon, last); return err },
			"trim":  func() error { return s.trim(t.Context(), other, time.Now()) },
		} {
			var foreign *ForeignError
			if err := write(); !errors.As(err, &foreign) || foreign.Theirs != here || foreign.Ours != other {
				t.Errorf("%s: %v, want a ForeignError", name, err)
			}
		}
		if after := held(); after != before {
			t.Errorf("redis holds\n%s\nbefore it held\n%s", after, before)
		}
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

// answer is what state.lua says.
func answer(st State) *redis.Cmd {
	cmd := redis.NewCmd(context.Background())
	whole, beat := int64(0), "0"
	if st.Whole {
		whole = 1
	}
	if !st.Beat.IsZero() {
		beat = strconv.FormatInt(st.Beat.UnixMilli(), 10)
	}
	cmd.SetVal([]any{whole, st.Origin, st.Epoch, st.last, beat})
	return cmd
}

// What a Feed makes of what it reads. Checked by leaving out the conditions of
// Take, one at a time.
func TestTake(t *testing.T) {
	whole := func(last string, beat int) State {
		st := State{Whole: true, Origin: here, Epoch: "one", last: last}
		if beat > 0 {
			st.Beat = noon.Add(time.Duration(beat) * time.Second)
		}
		return st
	}
	entry := func(id, prev string) redis.XMessage {
		return redis.XMessage{ID: id, Values: map[string]any{"jti": id, "until": "4000000000000", "prev": prev}}
	}
	batch := func(all ...redis.XMessage) redisdb.Batch { return redisdb.Batch{Entries: all} }
	start := redisdb.Batch{Start: true}
	type read struct {
		batch redisdb.Batch
		state State
	}
	for _, test := range []struct {
		name               string
		reads              []read
		again, ready, loss bool // after the last
		tokens             int
	}{
		{"the first beat only sets a line", []read{{start, whole("1-1", 1)}, {batch(entry("1-1", "")), whole("1-1", 1)}}, false, false, false, 1},
		{"a new beat", []read{{start, whole("1-1", 1)}, {batch(entry("1-1", "")), whole("1-1", 2)}}, false, true, false, 1},
		{"the first beat of an epoch", []read{{start, whole("1-1", 0)}, {batch(entry("1-1", "")), whole("1-1", 0)}, {batch(), whole("1-1", 1)}}, false, true, false, 1},
		{"an older beat", []read{{start, whole("1-1", 2)}, {batch(entry("1-1", "")), whole("1-1", 1)}}, false, false, false, 1},
		{"a beat that rests on more than was read", []read{{start, whole("1-1", 1)}, {batch(entry("1-1", "")), whole("2-1", 2)}}, false, false, false, 1},
		{"more to read", []read{{start, whole("1-1", 1)}, {redisdb.Batch{Entries: []redis.XMessage{entry("1-1", "")}, More: true}, whole("1-1", 2)}}, false, false, false, 1},
		{"not whole", []read{{start, whole("1-1", 1)}, {batch(entry("1-1", "")), State{Epoch: "one", last: "1-1", Beat: noon.Add(time.Hour)}}}, false, false, false, 1},
		{"another epoch since the start", []read{{start, whole("1-1", 1)}, {batch(), State{Whole: true, Origin: here, Epoch: "two", last: "3-1", Beat: noon.Add(time.Hour)}}}, true, false, false, 0},
		{"rolled back", []read{{start, whole("1-1", 1)}, {batch(entry("1-1", ""), entry("2-1", "1-1")), whole("2-1", 2)}, {batch(), whole("1-1", 3)}}, true, true, true, 2},
		{
			"rolled back and gone on",
			[]read{{start, whole("2-1", 1)}, {batch(entry("1-1", ""), entry("2-1", "1-1")), whole("2-1", 2)}, {batch(entry("3-1", "1-1")), whole("3-1", 3)}},
			true, true, true, 2,
		},
		{
			"it goes on",
			[]read{{start, whole("1-1", 1)}, {batch(entry("1-1", "")), whole("1-1", 1)}, {batch(entry("2-1", "1-1"), entry("3-1", "2-1")), whole("3-1", 2)}},
			false, true, false, 3,
		},
		{"the last were trimmed", []read{{start, whole("5-1", 1)}, {batch(), whole("5-1", 1)}, {batch(entry("6-1", "5-1")), whole("6-1", 2)}}, false, true, false, 1},
		{"gaps in what is read from the start", []read{{start, whole("5-1", 1)}, {batch(entry("3-1", "2-1"), entry("5-1", "4-1")), whole("5-1", 2)}}, false, true, false, 2},
		{"an entry of an earlier version", []read{{start, whole("1-1", 1)}, {batch(entry("1-1", "")), whole("1-1", 1)}, {batch(entry("2-1", "")), whole("2-1", 2)}}, false, true, false, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := NewFeed(FeedConfig{Now: func() time.Time { return noon }, Log: slog.New(slog.DiscardHandler)})
			r := &tail{feed: f}
			var again bool
			for _, one := range test.reads {
				r.answer = answer(one.state)
				cursor, err := r.Take(t.Context(), one.batch)
				if err != nil {
					t.Fatal(err)
				}
				again = cursor == ""
			}
			s := f.Stats()
			if again != test.again || s.Ready != test.ready || f.lost("one") != test.loss || s.Tokens != test.tokens {
				t.Errorf("again %t, ready %t, lost %t, %d tokens; want %t, %t, %t, %d",
					again, s.Ready, f.lost("one"), s.Tokens, test.again, test.ready, test.loss, test.tokens)
			}
		})
	}
}

// A Feed that sees no beat says so once, and goes on.
func TestNoBeat(t *testing.T) {
	now := noon
	var log bytes.Buffer
	f := NewFeed(FeedConfig{Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&log, nil))})
	r := &tail{feed: f}
	f.confirm(now)
	st := State{Whole: true, Origin: here, Epoch: "one", last: "1-1", Beat: noon}
	take := func(b redisdb.Batch) {
		r.answer = answer(st)
		if cursor, err := r.Take(t.Context(), b); err != nil || cursor == "" {
			t.Fatalf("read on after %q, %v", cursor, err)
		}
	}
	take(redisdb.Batch{Start: true})
	st.Beat = noon.Add(time.Second)
	take(redisdb.Batch{Entries: []redis.XMessage{{ID: "1-1", Values: map[string]any{"jti": "T", "until": "4000000000000"}}}})
	for range 20 {
		now = now.Add(time.Second)
		take(redisdb.Batch{})
	}
	if !f.Ready() || !f.Revoked("T", "", 0) || strings.Count(log.String(), "no identity service") != 1 || !f.Stats().Confirmed.Equal(noon) {
		t.Errorf("%+v\n%s", f.Stats(), log.String())
	}
	st.Beat = noon.Add(time.Minute)
	take(redisdb.Batch{})
	if !strings.Contains(log.String(), "confirmed again") || !f.Stats().Confirmed.Equal(now) {
		t.Errorf("%+v\n%s", f.Stats(), log.String())
	}
}
