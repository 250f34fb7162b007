package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/deploy/plugintest"
	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/plugin/pluginserver"
)

type bench struct {
	kong     *plugintest.Kong
	identity *plugintest.Identity
	campaign *plugintest.Campaign
	redisURL string
	config   plugintest.Config
}

func newBench(t testing.TB) *bench {
	t.Helper()
	return newBenchOn(t, "redis://"+miniredis.RunT(t).Addr())
}

func newBenchOn(t testing.TB, redisURL string) *bench {
	t.Helper()
	b := &bench{identity: plugintest.NewIdentity(t), redisURL: redisURL}
	b.campaign = plugintest.NewCampaign(t, b.redisURL)
	b.kong = plugintest.Serve(t, define(), pluginserver.Process{})
	b.config = b.kong.Configure(t, "a", b.values(), nil)
	return b
}

func (b *bench) values() map[string]any {
	return map[string]any{
		"issuer": plugintest.Issuer, "jwks_url": b.identity.URL, "redis_url": b.redisURL,
		"claim_timeout": 2000, // no test here is about a slow machine
	}
}

// login is the response to a successful login of the user.
func (b *bench) login(t testing.TB, user string) *plugintest.Request {
	t.Helper()
	raw, _ := b.identity.Token(t, user)
	body, err := json.Marshal(map[string]string{"token": raw})
	if err != nil {
		t.Fatal(err)
	}
	return &plugintest.Request{Status: 200, Body: body}
}

// check runs the plugin on the response, which must reach the client, with
// this header.
func (b *bench) check(t testing.TB, r *plugintest.Request, want string) {
	t.Helper()
	if result := b.kong.Handle(t, b.config, r); result.Exit != nil {
		t.Fatalf("exit %d: a login that has succeeded must not fail", result.Exit.Status)
	}
	if got := r.Downstream["Earlybird"]; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLoginIsTagged(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	b.check(t, b.login(t, "early"), "status=none")
	b.campaign.Start(t, 2)
	b.check(t, b.login(t, "one"), `status=granted, campaign="1", rank=1, discount=30`)
	b.check(t, b.login(t, "two"), `status=granted, campaign="1", rank=2, discount=30`)
	b.check(t, b.login(t, "one"), `status=granted, campaign="1", rank=1, discount=30`)
	b.check(t, b.login(t, "three"), "status=full")
	b.campaign.Must(t)(b.campaign.Admin.Pause(ctx))
	b.check(t, b.login(t, "four"), "status=paused")
	b.campaign.Must(t)(b.campaign.Admin.Resume(ctx))
	b.campaign.Must(t)(b.campaign.Admin.End(ctx))
	b.check(t, b.login(t, "five"), "status=ended")
	b.check(t, b.login(t, "two"), `status=granted, campaign="1", rank=2, discount=30`)
}

func TestCallsOfATaggedLogin(t *testing.T) {
	b := newBench(t)
	r := b.login(t, "u")
	b.check(t, r, "status=none")
	want := "[kong.service.response.get_status kong.service.response.get_raw_body kong.response.set_header]"
	if got := fmt.Sprint(r.Calls); got != want {
		t.Errorf("calls %s, want %s", got, want)
	}
}

func TestOtherResponsesAreLeftAlone(t *testing.T) {
	b := newBench(t)
	b.campaign.Start(t, 1)
	for _, status := range []int{201, 204, 400, 401, 429, 500, 503} {
		r := b.login(t, "u")
		r.Status = status
		b.check(t, r, "")
		if len(r.Calls) != 1 {
			t.Errorf("%d: calls %q, want the status only", status, r.Calls)
		}
	}
	if got := b.campaign.Claimer.Claim(t.Context(), "v"); got.Rank != 1 {
		t.Errorf("a login that failed has claimed: the next is %+v", got)
	}
}

func TestLoginThatCannotBeTaggedIsPending(t *testing.T) {
	b := newBench(t)
	b.campaign.Start(t, 5)
	stranger, _ := plugintest.NewIdentity(t).Token(t, "u")
	bodies := map[string]string{
		"empty": "", "not JSON": "{", "no token": "{}", "token of another type": `{"token":7}`, "garbage": `{"token":"x.y.z"}`,
		"not UTF-8": "{\"token\":\"\xff\"}", "a list": "[]", "null": "null", "of another identity": `{"token":"` + stranger + `"}`,
		"over the frame limit": `{"token":"` + strings.Repeat("a", 2<<20) + `"}`,
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			b.check(t, &plugintest.Request{Status: 200, Body: []byte(body)}, "status=pending")
		})
	}
	b.check(t, b.login(t, "u"), `status=granted, campaign="1", rank=1, discount=30`)
	if strings.Contains(b.kong.Log.String(), stranger) {
		t.Error("a token is in the log")
	}
}

func TestWithoutKeysIsPending(t *testing.T) {
	b := newBench(t)
	b.campaign.Start(t, 5)
	b.identity.Down(true)
	b.check(t, b.login(t, "u"), "status=pending")
	b.identity.Down(false)
	deadline := time.Now().Add(10 * time.Second)
	for {
		r := b.login(t, "u")
		b.kong.Handle(t, b.config, r)
		if strings.Contains(r.Downstream["Earlybird"], "rank=1") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("does not heal: %q", r.Downstream)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A Redis that accepts connections and says nothing holds a login up for the
// claim's time limit and no longer.
func TestSilentRedis(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	b := newBench(t)
	values := b.values()
	values["redis_url"], values["claim_timeout"] = "redis://"+listener.Addr().String(), 100
	b.config = b.kong.Configure(t, "a", values, nil)
	b.check(t, b.login(t, "u"), "status=pending") // starts the instance, too
	least := time.Hour
	for range 3 { // a busy machine may be slow once
		began := time.Now()
		b.check(t, b.login(t, "u"), "status=pending")
		least = min(least, time.Since(began))
	}
	if least > time.Second {
		t.Errorf("took %v, want about 100 ms", least)
	}
}

// While Redis is down logins are pending; the plugin that was started without
// it, and the one that has lost it, claim again once it is back.
func TestRedisDownAndBack(t *testing.T) {
	server := testserver.Redis(t)
	b := newBenchOn(t, server.URL())
	b.campaign.Start(t, 5)
	b.check(t, b.login(t, "one"), `status=granted, campaign="1", rank=1, discount=30`)
	server.Kill()
	late := b.kong.Configure(t, "started without Redis", b.values(), nil)
	for _, config := range []plugintest.Config{b.config, late} {
		b.config = config
		b.check(t, b.login(t, "two"), "status=pending")
	}
	server.Start()
	b.campaign.Restore(t)
	for _, user := range []string{"two", "one"} {
		deadline := time.Now().Add(10 * time.Second)
		for r := b.login(t, user); !strings.HasPrefix(r.Downstream["Earlybird"], "status=granted"); {
			if time.Now().After(deadline) {
				t.Fatalf("does not heal: %q", r.Downstream)
			}
			b.kong.Handle(t, b.config, r)
		}
	}
}

// The file that holds the URL of Redis may come later than the plugin.
func TestRedisURLFileThatComesLater(t *testing.T) {
	b := newBench(t)
	b.campaign.Start(t, 5)
	var there atomic.Bool
	b.kong = plugintest.Serve(t, define(), pluginserver.Process{RedisURL: func() (string, error) {
		if !there.Load() {
			return "", errors.New("no such file")
		}
		return b.redisURL, nil
	}})
	values := b.values()
	delete(values, "redis_url")
	b.config = b.kong.Configure(t, "a", values, nil)
	b.check(t, b.login(t, "u"), "status=pending")
	there.Store(true)
	r := b.login(t, "u")
	for deadline := time.Now().Add(15 * time.Second); !strings.HasPrefix(r.Downstream["Earlybird"], "status=granted"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("does not heal: %q", r.Downstream)
		}
		b.kong.Handle(t, b.config, r)
	}
}

func TestConfigurationThatCannotWorkIsPending(t *testing.T) {
	b := newBench(t)
	without := b.values()
	delete(without, "redis_url")
	tests := []struct {
		name, wantLog string
		extra         map[string]any
	}{
		{"unresolved reference", "could not be resolved by Kong", map[string]any{
			"redis_url": "", "$refs": map[string]any{"redis_url": "{vault://env/earlybird-redis-url}"},
		}},
		{"no URL of Redis", "no -redis-url-file", nil},
		{"a resolved reference that is no URL", "redis", map[string]any{"redis_url": "localhost"}},
		{"a wrong type", "decode", map[string]any{"leeway": "x"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b.config = b.kong.Configure(t, tt.name, without, tt.extra)
			b.check(t, b.login(t, "u"), "status=pending")
			if !strings.Contains(b.kong.Log.String(), tt.wantLog) {
				t.Errorf("the log does not say why: %s", b.kong.Log.String())
			}
		})
	}
}

func TestFileThatCannotBeReadIsPending(t *testing.T) {
	b := newBench(t)
	b.kong = plugintest.Serve(t, define(), pluginserver.Process{RedisURL: func() (string, error) { return "", errors.New("no such file") }})
	values := b.values()
	delete(values, "redis_url")
	b.config = b.kong.Configure(t, "a", values, nil)
	b.check(t, b.login(t, "u"), "status=pending")
	if !strings.Contains(b.kong.Log.String(), "no such file") {
		t.Errorf("the log does not say why: %s", b.kong.Log.String())
	}
}

// Kong runs an event again when the connection breaks; the answer is the same.
func TestSameEventTwice(t *testing.T) {
	b := newBench(t)
	b.campaign.Start(t, 5)
	r := b.login(t, "u")
	r.Fail = "kong.response.set_header"
	if _, err := b.kong.Plugin.Handle(t.Context(), b.kong.Event(b.config, r)); err == nil || errors.Is(err, kongwire.ErrClosed) {
		t.Fatalf("got %v, want Kong's own error", err)
	}
	r.Fail = ""
	b.check(t, r, `status=granted, campaign="1", rank=1, discount=30`)
	if got := b.campaign.Claimer.Claim(t.Context(), "v"); got.State != campaign.StateGranted || got.Rank != 2 {
		t.Errorf("the next is %+v, want rank 2", got)
	}
}
