package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/deploy/plugintest"
	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
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

// login is the identity service's response to a successful login of the user.
func (b *bench) login(t testing.TB, user string) *plugintest.Request {
	t.Helper()
	return b.answer(t, user, b.campaign.Login(t, user))
}

// answer is the response to a successful login with this Earlybird header.
func (b *bench) answer(t testing.TB, user, header string) *plugintest.Request {
	t.Helper()
	raw, _ := b.identity.Token(t, user)
	body, err := json.Marshal(map[string]string{"token": raw})
	if err != nil {
		t.Fatal(err)
	}
	return &plugintest.Request{Status: 200, Body: body, Answered: map[string]string{"earlybird": header}}
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

const first = `status=granted, campaign="1", rank=1, discount=30`

func TestLoginIsTagged(t *testing.T) {
	b := newBench(t)
	b.check(t, b.login(t, "early"), "status=none")
	b.campaign.Start(t, 2)
	b.check(t, b.login(t, "one"), first)
	b.check(t, b.login(t, "two"), `status=granted, campaign="1", rank=2, discount=30`)
	b.check(t, b.login(t, "one"), first)
	b.check(t, b.login(t, "three"), "status=full")
	b.campaign.Do(t, campaign.Pause())
	b.check(t, b.login(t, "four"), "status=paused")
	b.check(t, b.login(t, "three"), "status=paused")
	b.check(t, b.login(t, "one"), first)
	b.campaign.Do(t, campaign.Resume())
	b.campaign.Do(t, campaign.Void("two"))
	b.check(t, b.login(t, "two"), "status=full")
	b.check(t, b.login(t, "three"), `status=granted, campaign="1", rank=3, discount=30`)
	b.campaign.Do(t, campaign.End())
	b.check(t, b.login(t, "five"), "status=ended")
	b.check(t, b.login(t, "two"), "status=ended")
	b.check(t, b.login(t, "three"), `status=granted, campaign="1", rank=3, discount=30`)
	b.campaign.Start(t, 1)
	b.check(t, b.login(t, "five"), `status=granted, campaign="2", rank=1, discount=30`)
	b.check(t, b.login(t, "one"), "status=full")
}

func TestLoginsAreCountedByStatus(t *testing.T) {
	b := newBench(t)
	registry := prometheus.NewRegistry()
	b.kong = plugintest.Serve(t, define(), pluginserver.Process{Metrics: registry})
	b.campaign.Start(t, 1)
	b.check(t, b.login(t, "u"), first)
	for range 2 {
		b.check(t, b.answer(t, "u", ""), "status=retry")
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "earlybird_tag_logins_total" {
				got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	want := map[string]float64{"granted": 1, "retry": 2, "full": 0, "none": 0, "paused": 0, "ended": 0, "pending": 0}
	if !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

// A login that has a place asks for the body, another one does not.
func TestCallsOfATaggedLogin(t *testing.T) {
	b := newBench(t)
	b.campaign.Start(t, 1)
	for _, user := range []string{"u", "later"} {
		r := b.login(t, user)
		b.kong.Handle(t, b.config, r)
		want := "[kong.service.response.get_status kong.service.response.get_header kong.service.response.get_raw_body kong.response.set_header]"
		if got := fmt.Sprint(r.Calls); got != want {
			t.Errorf("calls %s, want %s", got, want)
		}
	}
	b.campaign.Do(t, campaign.End())
	r := b.login(t, "v")
	b.check(t, r, "status=ended")
	want := "[kong.service.response.get_status kong.service.response.get_header kong.response.set_header]"
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
}

// With a place the login counted, whatever cannot be read.
func TestLoginWithAPlaceThatCannotBeToldIsPending(t *testing.T) {
	b := newBench(t)
	b.campaign.Start(t, 5)
	header := b.campaign.Login(t, "u")
	stranger, _ := plugintest.NewIdentity(t).Token(t, "u")
	other, _ := b.identity.TokenFor(t, "another", "u")
	once, _ := b.identity.TokenFor(t, plugintest.Audience+"/password", "u")
	bodies := map[string]string{
		"empty": "", "not JSON": "{", "no token": "{}", "token of another type": `{"token":7}`, "garbage": `{"token":"x.y.z"}`,
		"not UTF-8": "{\"token\":\"\xff\"}", "a list": "[]", "null": "null", "of another identity": `{"token":"` + stranger + `"}`,
		"for another audience": `{"token":"` + other + `"}`, "of a one-time password": `{"token":"` + once + `"}`,
		"over the frame limit": `{"token":"` + strings.Repeat("a", 2<<20) + `"}`,
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			r := b.answer(t, "u", header)
			r.Body = []byte(body)
			b.check(t, r, "status=pending")
		})
	}
	b.check(t, b.answer(t, "u", header), first)
	if strings.Contains(b.kong.Log.String(), stranger) {
		t.Error("a token is in the log")
	}
}

// Without identity's word nobody knows whether the login counted, whatever the
// mirror says of the user.
func TestLoginWithoutIdentitysWordIsToldToRetry(t *testing.T) {
	b := newBench(t)
	b.campaign.Start(t, 5)
	header := b.campaign.Login(t, "u")
	for name, value := range map[string]string{
		"missing": "", "garbage": "%", "not UTF-8": "status=none\xff", "two items": "status=none status=full", "a list": "status=(none)",
		"a string": `status="none"`, "no place": "status=pending", "a grant": first, "of another version": "status=won",
		"over the frame limit": strings.Repeat("a", 2<<20), "retry": "status=retry",
	} {
		t.Run(name, func(t *testing.T) {
			b.check(t, b.answer(t, "u", value), "status=retry")
		})
	}
	b.check(t, b.answer(t, "u", header), first)
}

// A status that cannot be read leaves what the header says.
func TestStatusThatCannotBeRead(t *testing.T) {
	b := newBench(t)
	b.campaign.Start(t, 5)
	for header, want := range map[string]string{b.campaign.Login(t, "u"): first, "status=ended": "status=ended", "": "status=retry"} {
		r := b.answer(t, "u", header)
		e := b.kong.Event(b.config, r)
		e.PDK = func(method string, args []byte) (proto.Message, error) {
			if method == "kong.service.response.get_status" {
				return &kong_plugin_protocol.ByteString{V: make([]byte, 2<<20)}, nil // over the limit
			}
			return r.Answer(method, args)
		}
		if result, err := b.kong.Plugin.Handle(t.Context(), e); err != nil || result.Exit != nil || r.Downstream["Earlybird"] != want {
			t.Errorf("%q: %q, %v; want %q", header, r.Downstream, err, want)
		}
	}
}

func TestHandlerThatPanicsIsToldToRetry(t *testing.T) {
	d := define()
	d.New = func(context.Context, pluginserver.Process) (pluginserver.StartFunc, error) {
		return func(context.Context, []byte) (pluginserver.Instance, error) { return panicking{}, nil }, nil
	}
	b := newBench(t)
	b.kong = plugintest.Serve(t, d, pluginserver.Process{})
	b.check(t, b.answer(t, "u", "status=none"), "status=retry")
}

type panicking struct{}

func (panicking) Handle(context.Context, *pluginserver.Event) pluginserver.Verdict {
	panic("on purpose")
}
func (panicking) Close() {}

// The mirror must have come as far as the log had when the login was placed.
// Checked by asking about the place before.
func TestMirrorThatIsBehindIsPending(t *testing.T) {
	b := newBench(t)
	b.impatient(t)
	b.campaign.Start(t, 1)
	b.campaign.Placed(t, "one", "two")
	ahead := campaign.Place{Epoch: 1 << 20, Seq: 100}
	b.check(t, b.answer(t, "one", plugintest.PlaceHeader(ahead)), "status=pending")
	ahead = campaign.Place{Epoch: 2 << 20}
	b.check(t, b.answer(t, "one", plugintest.PlaceHeader(ahead)), "status=pending")
	b.check(t, b.login(t, "one"), first)
}

// impatient makes logins pending after 50 ms.
func (b *bench) impatient(t testing.TB) {
	t.Helper()
	values := b.values()
	values["claim_timeout"] = 50
	b.config = b.kong.Configure(t, "impatient", values, nil)
}

// A user who has a place in the log and none in a mirror that has come as far: of
// another database, or the next campaign has begun meanwhile.
func TestUserWhomTheMirrorDoesNotKnowIsPending(t *testing.T) {
	b := newBench(t)
	b.campaign.Start(t, 5)
	b.campaign.Placed(t, "u")
	b.check(t, b.answer(t, "stranger", b.campaign.Login(t, "u")), "status=pending")
	header := b.campaign.Login(t, "u")
	b.campaign.Do(t, campaign.End())
	b.campaign.Start(t, 5)
	b.check(t, b.answer(t, "u", header), "status=pending")
}

// Redis is damaged, emptied, and another database's: no login is told anything
// that is not so, and all is told once it is filled.
func TestRedisThatCannotBeBuiltUpon(t *testing.T) {
	b := newBench(t)
	b.impatient(t)
	b.campaign.Start(t, 1)
	b.campaign.Placed(t, "one", "two")
	headers := map[string]string{"one": b.campaign.Login(t, "one"), "two": b.campaign.Login(t, "two")}
	b.campaign.Stop()
	ctx := t.Context()
	pending := func(what string) {
		t.Helper()
		for user, header := range headers {
			if r := b.answer(t, user, header); true {
				b.kong.Handle(t, b.config, r)
				if got := r.Downstream["Earlybird"]; got != "status=pending" {
					t.Errorf("%s: %s is told %q", what, user, got)
				}
			}
		}
	}
	if err := b.campaign.Redis.ZRem(ctx, mirror.KeyArrivals, "one").Err(); err != nil {
		t.Fatal(err)
	}
	pending("a user is missing")
	if err := b.campaign.Redis.Set(ctx, mirror.KeyCampaign, "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	pending("a key of another type")
	if err := b.campaign.Redis.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	pending("emptied")
	foreign := plugintest.NewCampaign(t, b.redisURL)
	foreign.Start(t, 5)
	foreign.Placed(t, "x", "y", "z")
	pending("another database's")
	foreign.Stop()
	if err := b.campaign.Redis.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	plugintest.NewCampaignOf(t, b.redisURL, b.campaign.Database).Filled(t)
	b.check(t, b.answer(t, "one", headers["one"]), first)
	b.check(t, b.answer(t, "two", headers["two"]), "status=full")
}

func TestWithoutKeysIsPending(t *testing.T) {
	b := newBench(t)
	b.campaign.Start(t, 5)
	b.identity.Down(true)
	b.check(t, b.login(t, "u"), "status=pending")
	b.identity.Down(false)
	b.heals(t, "u")
}

// heals waits until the user's logins are told rank 1.
func (b *bench) heals(t testing.TB, user string) {
	t.Helper()
	testserver.Eventually(t, "the login is told", func() bool {
		r := b.login(t, user)
		b.kong.Handle(t, b.config, r)
		return r.Downstream["Earlybird"] == first
	})
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
	b.campaign.Start(t, 5)
	header := b.campaign.Login(t, "u")
	b.check(t, b.answer(t, "u", header), "status=pending") // starts the instance, too
	least := time.Hour
	for range 3 { // a busy machine may be slow once
		began := time.Now()
		b.check(t, b.answer(t, "u", header), "status=pending")
		least = min(least, time.Since(began))
	}
	if least > time.Second {
		t.Errorf("took %v, want about 100 ms", least)
	}
}

// While Redis is down logins that count are pending, and others are told why; the
// plugin that was started without it, and the one that has lost it, tell again
// once it is back.
func TestRedisDownAndBack(t *testing.T) {
	server := testserver.Redis(t)
	b := newBenchOn(t, server.URL())
	b.campaign.Start(t, 5)
	b.check(t, b.login(t, "one"), first)
	server.Kill()
	values := b.values()
	values["claim_timeout"] = 50
	late := b.kong.Configure(t, "started without Redis", values, nil)
	for _, config := range []plugintest.Config{b.config, late} {
		b.config = config
		b.check(t, b.login(t, "two"), "status=pending")
		b.check(t, b.answer(t, "x", "status=full"), "status=full")
	}
	server.Start()
	b.heals(t, "one")
	b.campaign.Filled(t)
	b.check(t, b.login(t, "two"), `status=granted, campaign="1", rank=2, discount=30`)
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
	b.heals(t, "u")
}

func TestConfigurationThatCannotWorkIsPending(t *testing.T) {
	b := newBench(t)
	b.campaign.Start(t, 5)
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
			b.check(t, b.answer(t, "u", "status=full"), "status=full")
			b.check(t, b.answer(t, "u", ""), "status=retry")
			if !strings.Contains(b.kong.Log.String(), tt.wantLog) {
				t.Errorf("the log does not say why: %s", b.kong.Log.String())
			}
		})
	}
}

func TestFileThatCannotBeReadIsPending(t *testing.T) {
	b := newBench(t)
	b.campaign.Start(t, 5)
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
	b.check(t, r, first)
	b.check(t, b.login(t, "v"), `status=granted, campaign="1", rank=2, discount=30`)
}
