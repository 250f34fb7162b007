package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/earlybird/earlybird/deploy/plugintest"
	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/plugin/pluginserver"
)

// What these tests show is in deploy/docs/edge.md as a table.

// within fails the test when the condition does not come true in time.
func within(t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %s", limit, what)
		}
	}
}

// fastest is the least time that one of three runs took: a busy machine may be
// slow once.
func fastest(run func()) time.Duration {
	least := time.Hour
	for range 3 {
		began := time.Now()
		run()
		least = min(least, time.Since(began))
	}
	return least
}

func (b *bench) passes(t testing.TB, raw string) func() bool {
	return func() bool { return b.status(t, raw) == 0 }
}

// Keys that cannot be had at the start are a 503 until they can.
func TestKeysThatAreNotThereAtTheStart(t *testing.T) {
	hang := make(chan struct{})
	tests := map[string]http.HandlerFunc{
		"down":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"garbage": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>maintenance</html>") },
		"none":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[]}`) },
		"slow":    func(http.ResponseWriter, *http.Request) { <-hang },
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.identity.Answer(answer)
			raw, _ := b.identity.Token(t, "u")
			if got := b.status(t, raw); got != 503 {
				t.Fatalf("status %d, want 503", got)
			}
			took := fastest(func() {
				if got := b.status(t, raw); got != 503 {
					t.Errorf("status %d, want 503", got)
				}
			})
			if took > time.Second {
				t.Errorf("503 after %v, want it at once", took)
			}
			b.identity.Answer(nil)
			if name == "slow" {
				close(hang) // that answer is empty, and the next try has the keys
			}
			within(t, 10*time.Second, "the keys are found", b.passes(t, raw))
		})
	}
}

// Identity is stopped, comes back with garbage, then with another key: what is
// signed with a key that is known passes all the while, and the new key is
// known within the 10 s that refetches are apart. What a withdrawn key signed
// passes no more, remembered or not.
func TestIdentityIsRestartedAndRotates(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	warm, _ := b.identity.Token(t, "u")
	b.header(t, warm)
	b.identity.Stop()
	late, _ := b.identity.Token(t, "late")
	b.header(t, late)

	b.identity.Rotate(t)
	rotated, _ := b.identity.Token(t, "v")
	if got := b.status(t, rotated); got != 401 {
		t.Errorf("a token of a key that is not known: %d, want 401", got)
	}
	b.identity.Answer(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[{"kty":`) })
	b.identity.Start(t)
	b.header(t, warm)
	b.identity.Answer(nil)
	within(t, 25*time.Second, "the new key is known", func() bool {
		b.header(t, warm)
		b.header(t, late)
		return b.status(t, rotated) == 0
	})
	b.identity.Rotate(t)
	b.identity.Withdraw()
	next, _ := b.identity.Token(t, "w")
	within(t, 25*time.Second, "the next key is known", b.passes(t, next))
	for name, raw := range map[string]string{"warm": warm, "late": late, "rotated": rotated} {
		if got := b.status(t, raw); got != 401 {
			t.Errorf("a token of a withdrawn key, %s: %d, want 401", name, got)
		}
	}
}

func TestRedisDownAtTheStart(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	b := newBenchOn(t, server.URL())
	server.Kill()
	raw, _ := b.identity.Token(t, "u")
	if got := b.status(t, raw); got != 503 {
		t.Errorf("status %d, want 503: nobody knows what was revoked", got)
	}
	server.Start()
	within(t, 10*time.Second, "the revocations are known", b.passes(t, raw))
}

// A configuration that changes while Redis is down, or is first used then,
// knows what the process knows of revocations.
func TestNewConfigurationWhileRedisIsDown(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	b := newBenchOn(t, server.URL())
	good, _ := b.identity.Token(t, "u")
	ended, claims := b.identity.Token(t, "u")
	b.header(t, good)
	b.revoked.Logout(t, claims.ID)
	within(t, 10*time.Second, "it is revoked", b.dead(t, ended))
	server.Kill()
	for id, change := range map[string]map[string]any{
		"a": {"leeway": 7}, "another route": {"also_audience": "earlybird/password"}, "patient": {"beat_max_age": 60},
	} {
		values := b.values()
		maps.Copy(values, change)
		b.config = b.kong.Configure(t, id, values, nil)
		b.header(t, good)
		if got := b.status(t, ended); got != 401 {
			t.Errorf("%s: the revoked token: %d, want 401", id, got)
		}
	}
}

// A Redis that accepts connections and is silent holds up nobody whose standing is
// known, and others for the time limit of one read, until it is noticed: then it
// holds up nobody.
func TestSilentRedis(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	b := newBenchOn(t, server.URL())
	b.campaign.Start(t, 1)
	b.campaign.Placed(t, "winner")
	winner, _ := b.identity.Token(t, "winner")
	b.says(t, winner, first)
	b.must(t, b.campaign.Redis.Do(t.Context(), "CLIENT", "PAUSE", "5000", "ALL").Err())
	silent := time.Now()
	told := func(raw, want string) func() {
		return func() {
			if got := b.suffix(t, raw); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
	fresh, _ := b.identity.Token(t, "fresh")
	if held := fastest(told(fresh, unknown)); held > readTimeout+time.Second { // and a slow machine
		t.Errorf("held up for %v", held)
	}
	if held := fastest(told(winner, first)); held > readTimeout {
		t.Errorf("a grant that is known: held up for %v", held)
	}
	testserver.Eventually(t, "the silence is noticed", func() bool { return strings.Contains(b.kong.Log.String(), "log is not followed") })
	if took := time.Since(silent); took > 3*time.Second {
		t.Errorf("noticed after %v", took)
	}
	for i := range 3 {
		raw, _ := b.identity.Token(t, fmt.Sprint("new", i))
		if held := fastest(told(raw, unknown)); held > readTimeout/2 {
			t.Errorf("held up for %v when the silence is known", held)
		}
	}
	b.says(t, fresh, "")
}

// Kong drops the connection when something breaks in the midst of an event, and
// may run the event again. The plugin is left as it was, and says the same.
func TestConnectionThatEndsInTheMidstOfAnEvent(t *testing.T) {
	b := newBench(t)
	raw, _ := b.identity.Token(t, "u")
	want := b.header(t, raw)
	before := runtime.NumGoroutine()
	errGone := errors.New("Kong drops the connection")
	for i := range 100 {
		r := &plugintest.Request{Header: map[string]string{"authorization": "Bearer " + raw}}
		e := b.kong.Event(b.config, r)
		at := []string{"kong.request.get_header", "kong.service.request.set_header"}[i%2]
		e.PDK = func(method string, args []byte) (proto.Message, error) {
			if method == at {
				return nil, errGone
			}
			return r.Answer(method, args)
		}
		if _, err := b.kong.Plugin.Handle(t.Context(), e); !errors.Is(err, errGone) {
			t.Fatalf("at %s: %v, want %v", at, err, errGone)
		}
		if got := b.header(t, raw); got != want {
			t.Fatalf("the event run again: %s, want %s", got, want)
		}
	}
	goroutinesSettle(t, before+5)
}

// What a configuration watched goes with it, and what others of the same Redis
// watch stays. Checked by leaving out the purge.
func TestConfigurationThatGoesReleasesItsWatches(t *testing.T) {
	b := newBench(t)
	registry := prometheus.NewRegistry()
	b.kong = plugintest.Serve(t, define(), pluginserver.Process{Metrics: registry})
	b.config = b.kong.Configure(t, "stays", b.values(), nil)
	raw, _ := b.identity.Token(t, "stays")
	b.header(t, raw)
	stays := b.config
	for leeway := range 3 {
		b.config = b.kong.Configure(t, "changes", b.with("leeway", 10+leeway), nil)
		for i := range 5 {
			raw, _ := b.identity.Token(t, fmt.Sprint("goes", leeway, i))
			b.header(t, raw)
		}
	}
	testserver.Eventually(t, "the users of the last configuration are left", func() bool { return metric(t, registry, "earlybird_auth_users") == 6 })
	b.config = stays
	b.header(t, raw)
	if hits := metric(t, registry, "earlybird_auth_token_lookups_total{hit}"); hits != 1 {
		t.Errorf("%v hits, want 1", hits)
	}
}

// Configurations that change one after the other under load lose no request and
// leave nothing behind. Package pluginserver's test goes through 10,000.
func TestConfigChangesUnderLoad(t *testing.T) {
	const changes, another = 1_000, 100
	b := newBench(t)
	raw, _ := b.identity.Token(t, "u")
	b.header(t, raw)
	goroutines, heap := runtime.NumGoroutine(), heapInUse()

	var current atomic.Pointer[plugintest.Config]
	current.Store(&b.config)
	one := func(config plugintest.Config) bool {
		r := &plugintest.Request{Header: map[string]string{"authorization": "Bearer " + raw}}
		result, err := b.kong.Plugin.Handle(t.Context(), b.kong.Event(config, r))
		if err != nil || result.Exit != nil || r.Upstream["Earlybird"] == "" {
			t.Errorf("lost: %v %+v", err, result.Exit)
			return false
		}
		return true
	}
	var load sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		load.Go(func() {
			for one(*current.Load()) {
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := range changes {
		values := b.values()
		values["leeway"] = i / another % 2 // what depends on the settings is built anew
		config := b.kong.Configure(t, "a", values, nil)
		if !one(config) {
			break
		}
		current.Store(&config)
	}
	close(stop)
	load.Wait()
	goroutinesSettle(t, goroutines+20)
	if grown := heapInUse() - heap; grown > 30<<20 {
		t.Errorf("the heap has grown by %d MB", grown>>20)
	}
}

// goroutinesSettle fails the test, and says what runs, when more than so many
// goroutines are there in the end.
func goroutinesSettle(t *testing.T, most int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > most; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			var stacks strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			t.Fatalf("%d goroutines, want at most %d:\n%s", runtime.NumGoroutine(), most, stacks.String())
		}
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// waitForSocket returns when something listens on the socket.
func waitForSocket(t *testing.T, socket string) {
	t.Helper()
	within(t, 10*time.Second, "the plugin does not listen", func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}
