package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"github.com/alicebob/miniredis/v2"
	"github.com/dunglas/httpsfv"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/deploy/plugintest"
	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/plugin/pluginserver"
)

// bench is the plugin at work, with an identity and a campaign.
type bench struct {
	kong     *plugintest.Kong
	identity *plugintest.Identity
	campaign *plugintest.Campaign
	revoked  *plugintest.Revocations
	redisURL string
	config   plugintest.Config
}

func newBench(t testing.TB) *bench {
	t.Helper()
	return newBenchOn(t, "redis://"+miniredis.RunT(t).Addr())
}

func newBenchOn(t testing.TB, redisURL string) *bench {
	t.Helper()
	b := &bench{identity: plugintest.NewIdentity(t), redisURL: redisURL, campaign: plugintest.NewCampaign(t, redisURL)}
	b.revoked = plugintest.NewRevocations(t, redisURL)
	b.kong = plugintest.Serve(t, define(), pluginserver.Process{})
	b.config = b.kong.Configure(t, "a", b.values(), nil)
	return b
}

func (b *bench) values() map[string]any {
	return map[string]any{"issuer": plugintest.Issuer, "jwks_url": b.identity.URL, "redis_url": b.redisURL}
}

// ask sends a request with this Authorization header.
func (b *bench) ask(t testing.TB, authorization string) (*plugintest.Request, kongwire.Result) {
	t.Helper()
	r := &plugintest.Request{Header: map[string]string{"authorization": authorization}}
	return r, b.kong.Handle(t, b.config, r)
}

// header is the upstream header of a request that passes.
func (b *bench) header(t testing.TB, raw string) string {
	t.Helper()
	r, result := b.ask(t, "Bearer "+raw)
	if result.Exit != nil {
		t.Fatalf("exit %d %s", result.Exit.Status, result.Exit.Body)
	}
	if got := fmt.Sprint(r.Calls); got != "[kong.request.get_header kong.service.request.set_header]" {
		t.Fatalf("calls %s, want get_header and set_header", got)
	}
	return r.Upstream["Earlybird"]
}

// says waits until a request with this token passes with this suffix after user
// and token.
func (b *bench) says(t testing.TB, raw, suffix string) time.Duration {
	t.Helper()
	return testserver.Eventually(t, "the header ends in "+suffix, func() bool { return b.suffix(t, raw) == suffix })
}

// suffix is what the header says of the grant.
func (b *bench) suffix(t testing.TB, raw string) string {
	t.Helper()
	_, rest, _ := strings.Cut(b.header(t, raw), `token="`)
	_, rest, _ = strings.Cut(rest, `"`)
	return rest
}

// saysAfter is how long after the beginning of a command the header says so.
func (b *bench) saysAfter(t testing.TB, change campaign.Change, raw, suffix string) time.Duration {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- b.campaign.Commit(change) }()
	took := b.says(t, raw, suffix)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return took
}

func TestAcceptedRequest(t *testing.T) {
	b := newBench(t)
	b.campaign.Start(t, 1)
	b.campaign.Placed(t, "winner", "late")
	tests := []struct{ name, user, want string }{
		{"granted", "winner", `user="winner", token="%s", campaign="1", rank=1, discount=30`},
		{"waiting", "late", `user="late", token="%s"`},
		{"never arrived", "other", `user="other", token="%s"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw, claims := b.identity.Token(t, tt.user)
			want := fmt.Sprintf(tt.want, claims.ID)
			testserver.Eventually(t, "a replica has vouched for the mirror", func() bool { return b.header(t, raw) == want })
			got := b.header(t, raw)
			if got != want {
				t.Errorf("remembered: got %s, want %s", got, want)
			}
			if _, err := httpsfv.UnmarshalDictionary([]string{got}); err != nil {
				t.Errorf("not a dictionary: %v", err)
			}
		})
	}
}

func TestRefusedRequest(t *testing.T) {
	b := newBench(t)
	good, _ := b.identity.Token(t, "u")
	stranger, _ := plugintest.NewIdentity(t).Token(t, "u")
	const secret = "hunter2"
	tests := []struct{ name, authorization, wantError string }{
		{"none", "", ""},
		{"another scheme", "Basic " + secret, ""},
		{"no token", "Bearer ", "malformed"},
		{"garbage", "Bearer " + secret, "malformed"},
		{"two tokens", "Bearer " + good + " " + good, "malformed"},
		{"tab", "Bearer\t" + good, "malformed"},
		{"trailing bytes", "Bearer " + good + ";", "malformed"},
		{"altered", "Bearer " + good[:len(good)-8] + "AAAAAAAA", "malformed"},
		{"unsigned", "Bearer " + good[:strings.LastIndex(good, ".")+1], "malformed"},
		{"of another identity", "Bearer " + stranger, "signature"},
		{"expired", "Bearer " + b.identity.OldToken(t, "u", time.Hour), "expired"},
		{"from the future", "Bearer " + b.identity.OldToken(t, "u", -time.Hour), "not valid yet"},
		{"over 4 KiB", "Bearer " + strings.Repeat("a", 5000), "malformed"},
		{"a megabyte", "Bearer " + strings.Repeat("a", 1<<20-1000), "malformed"},
		{"not UTF-8", "Bearer " + secret + "\xff\xfe", "malformed"},
		{"over the frame limit", "Bearer " + strings.Repeat("a", 2<<20), "malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, result := b.ask(t, tt.authorization)
			if result.Exit == nil || result.Exit.Status != 401 || r.Upstream != nil {
				t.Fatalf("got %+v, upstream %v; want 401", result.Exit, r.Upstream)
			}
			challenge := strings.Join(result.Exit.Header["WWW-Authenticate"], "|")
			if tt.wantError == "" && challenge != `Bearer realm="earlybird"` {
				t.Errorf("challenge %q must have no error", challenge)
			}
			if tt.wantError != "" && (!strings.Contains(challenge, `error="invalid_token"`) || !strings.Contains(challenge, tt.wantError) && tt.name != "altered") {
				t.Errorf("challenge %q, want invalid_token and %q", challenge, tt.wantError)
			}
			checkProblem(t, result.Exit, 401)
			if strings.Contains(string(result.Exit.Body)+challenge, secret) {
				t.Error("what was sent is echoed")
			}
		})
	}
	if b.header(t, good) == "" {
		t.Error("a good token passes after all that")
	}
}

func checkProblem(t *testing.T, exit *kongwire.Exit, status int) {
	t.Helper()
	var problem map[string]any
	if err := json.Unmarshal(exit.Body, &problem); err != nil {
		t.Fatalf("body %q: %v", exit.Body, err)
	}
	if fmt.Sprint(exit.Header["Content-Type"]) != "[application/problem+json]" || problem["status"] != float64(status) || problem["title"] == "" || problem["detail"] == "" {
		t.Errorf("not a problem: %v %s", exit.Header, exit.Body)
	}
}

func TestSchemeIsCaseInsensitive(t *testing.T) {
	b := newBench(t)
	raw, _ := b.identity.Token(t, "u")
	for _, scheme := range []string{"bearer ", "BEARER ", "Bearer   "} {
		if _, result := b.ask(t, scheme+raw); result.Exit != nil {
			t.Errorf("%q: exit %d", scheme, result.Exit.Status)
		}
	}
}

func TestWithoutKeys(t *testing.T) {
	b := newBench(t)
	b.identity.Down(true)
	raw, _ := b.identity.Token(t, "u")
	_, result := b.ask(t, "Bearer "+raw)
	if result.Exit == nil || result.Exit.Status != 503 || len(result.Exit.Header["Retry-After"]) != 1 {
		t.Fatalf("got %+v, want 503 with Retry-After", result.Exit)
	}
	checkProblem(t, result.Exit, 503)
	if _, result := b.ask(t, ""); result.Exit == nil || result.Exit.Status != 401 {
		t.Errorf("no token is 401 all the same: %+v", result.Exit)
	}
	b.identity.Down(false)
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, result = b.ask(t, "Bearer "+raw); result.Exit == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("does not heal")
		}
		time.Sleep(5 * time.Millisecond)
	}
	b.identity.Down(true)
	again, _ := b.identity.Token(t, "v")
	if _, result := b.ask(t, "Bearer "+again); result.Exit != nil {
		t.Errorf("keys are kept while their source is down: %d", result.Exit.Status)
	}
}

func TestHeaderThatCannotBeSetPassesNothing(t *testing.T) {
	b := newBench(t)
	raw, _ := b.identity.Token(t, "u")
	r := &plugintest.Request{Header: map[string]string{"authorization": "Bearer " + raw}, Fail: "kong.service.request.set_header"}
	_, err := b.kong.Plugin.Handle(t.Context(), b.kong.Event(b.config, r))
	if err == nil || errors.Is(err, kongwire.ErrClosed) || r.Upstream != nil {
		t.Errorf("got %v, want Kong's own error", err)
	}
}

// The PDK may also fail with the connection whole: here on an answer over the
// limit. The request must not pass without its header either.
func TestAnswerThatCannotBeReadPassesNothing(t *testing.T) {
	b := newBench(t)
	raw, _ := b.identity.Token(t, "u")
	r := &plugintest.Request{Header: map[string]string{"authorization": "Bearer " + raw}}
	e := b.kong.Event(b.config, r)
	e.PDK = func(method string, args []byte) (proto.Message, error) {
		if method == "kong.service.request.set_header" {
			return &kong_plugin_protocol.ByteString{V: make([]byte, 2<<20)}, nil
		}
		return r.Answer(method, args)
	}
	result, err := b.kong.Plugin.Handle(t.Context(), e)
	if err != nil || result.Exit == nil || result.Exit.Status != 500 {
		t.Fatalf("got %+v, %v; want 500", result.Exit, err)
	}
	checkProblem(t, result.Exit, 500)
}

func TestStandingIsRightWithinASecondOfAChange(t *testing.T) {
	const none, second = "", `, campaign="1", rank=2, discount=30`
	b := newBench(t)
	b.campaign.Start(t, 1)
	raw, _ := b.identity.Token(t, "u")
	b.says(t, raw, none)
	b.campaign.Placed(t, "first", "u")
	b.says(t, raw, none)
	raised := b.saysAfter(t, plugintest.Extend(2), raw, second)
	voided := b.saysAfter(t, campaign.Void("u"), raw, none)
	reinstated := b.saysAfter(t, campaign.Reinstate("u"), raw, second)
	b.campaign.Do(t, campaign.End())
	if got := b.suffix(t, raw); got != second {
		t.Errorf("when the campaign has ended: %s", got)
	}
	gone := b.saysAfter(t, campaign.Start(campaign.Settings{Name: "Next", Discount: 40, Slots: 5, Waitlist: 10}), raw, none)
	b.campaign.Placed(t, "u")
	granted := b.says(t, raw, `, campaign="2", rank=1, discount=40`)
	plugintest.Promptly(t, raised, voided, reinstated, granted)
	if gone > 2*time.Second { // a no needs a beat of the new campaign, too
		t.Errorf("the next campaign was seen after %v", gone)
	}
}

const first = `, campaign="1", rank=1, discount=30`

// Redis down, and back as it was: a grant that is known is told all the while,
// and nobody who may have one is told that they have none.
func TestRedisDown(t *testing.T) {
	server := testserver.Redis(t)
	b := newBenchOn(t, server.URL())
	b.config = b.kong.Configure(t, "impatient", b.with("beat_max_age", 2), nil)
	b.campaign.Start(t, 2)
	b.campaign.Placed(t, "winner")
	winner, _ := b.identity.Token(t, "winner")
	other, _ := b.identity.Token(t, "other")
	b.says(t, winner, first)
	b.says(t, other, "")
	server.Kill()
	b.says(t, other, unknown)
	fresh, _ := b.identity.Token(t, "fresh")
	if got := b.suffix(t, fresh); got != unknown {
		t.Errorf("a standing that cannot be read: %s", got)
	}
	if p := b.campaign.Place(t.Context(), "other"); p.Status != campaign.StatusPending {
		t.Fatalf("without Redis: %+v", p)
	}
	b.campaign.Do(t, campaign.Void("winner")) // reaches this edge when Redis is back
	if got := b.suffix(t, winner); got != first {
		t.Errorf("a grant that is remembered holds: %s", got)
	}
	server.Start()
	b.says(t, other, `, campaign="1", rank=2, discount=30`)
	b.says(t, winner, "")
	b.says(t, fresh, "")
}

// with is the values with one changed.
func (b *bench) with(name string, value any) map[string]any {
	values := b.values()
	values[name] = value
	return values
}

// No identity vouches for the mirror any more: a no becomes unknown after
// beat_max_age, and a yes stays.
func TestNoBeat(t *testing.T) {
	b := newBench(t)
	b.config = b.kong.Configure(t, "a", b.with("beat_max_age", 2), nil)
	b.campaign.Start(t, 1)
	b.campaign.Placed(t, "winner")
	winner, _ := b.identity.Token(t, "winner")
	other, _ := b.identity.Token(t, "other")
	b.says(t, winner, first)
	b.says(t, other, "")
	b.campaign.Stop()
	if took := b.says(t, other, unknown); took < time.Second || took > 10*time.Second { // and a slow machine
		t.Errorf("unknown after %v, want 2 s", took)
	}
	if got := b.suffix(t, winner); got != first {
		t.Errorf("the winner: %s", got)
	}
	b.campaign = plugintest.NewCampaignOf(t, b.redisURL, b.campaign.Database)
	b.says(t, other, "")
	if got := b.suffix(t, winner); got != first {
		t.Errorf("the winner: %s", got)
	}
}

// A Redis that is emptied, rolled back, damaged, or taken by another database
// ends no grant and makes nobody believe that they have none.
func TestRedisThatLosesItsPart(t *testing.T) {
	b := newBenchOn(t, testserver.Redis(t).URL())
	b.campaign.Start(t, 2)
	b.campaign.Placed(t, "winner")
	ctx := t.Context()
	back := b.snapshot(t)
	b.campaign.Placed(t, "second")
	tokens := map[string]string{}
	for _, user := range []string{"winner", "second", "other"} {
		tokens[user], _ = b.identity.Token(t, user)
	}
	truth := map[string]string{"winner": first, "second": `, campaign="1", rank=2, discount=30`, "other": ""}
	right := func(what string) {
		t.Helper()
		for user, want := range truth {
			testserver.Eventually(t, what+": "+user+" is told "+want, func() bool {
				got := b.suffix(t, tokens[user])
				if got != want && got != unknown {
					t.Fatalf("%s: %s is told %q", what, user, got)
				}
				return got == want
			})
		}
	}
	keeps := func(what string) {
		t.Helper()
		for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			for user, want := range truth {
				if got := b.suffix(t, tokens[user]); got != want && (want != "" || got != unknown) {
					t.Fatalf("%s: %s is told %q, want %q", what, user, got, want)
				}
			}
		}
	}
	for _, loss := range []struct {
		name string
		lose func()
	}{
		{"emptied", func() { b.must(t, b.campaign.Redis.FlushAll(ctx).Err()) }},
		{"rolled back", back},
		{"a user is gone", func() { b.must(t, b.campaign.Redis.ZRem(ctx, mirror.KeyArrivals, "winner").Err()) }},
		{"the log is gone", func() { b.must(t, b.campaign.Redis.Del(ctx, mirror.KeyLog).Err()) }},
		{"another database's", func() { b.takeOver(t) }},
	} {
		right("before it is " + loss.name)
		b.campaign.Stop()
		loss.lose()
		keeps(loss.name)
		if loss.name == "another database's" {
			if !strings.Contains(b.kong.Log.String(), "another database") {
				t.Error("the log does not say so")
			}
			b.must(t, b.campaign.Redis.FlushAll(ctx).Err())
		}
		b.campaign = plugintest.NewCampaignOf(t, b.redisURL, b.campaign.Database)
		right(loss.name + ", and filled")
	}
}

// takeOver fills Redis from another database.
func (b *bench) takeOver(t testing.TB) {
	t.Helper()
	b.must(t, b.campaign.Redis.FlushAll(t.Context()).Err())
	foreign := plugintest.NewCampaign(t, b.redisURL)
	foreign.Start(t, 5)
	foreign.Placed(t, "other")
	foreign.Stop()
}

// snapshot returns what brings the mirror back to how it is now.
func (b *bench) snapshot(t testing.TB) (restore func()) {
	t.Helper()
	dumps := map[string]string{}
	for _, key := range []string{mirror.KeyCampaign, mirror.KeyArrivals, mirror.KeyLog} {
		dump, err := b.campaign.Redis.Dump(t.Context(), key).Result()
		b.must(t, err)
		dumps[key] = dump
	}
	return func() {
		_, err := b.campaign.Redis.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			for key, dump := range dumps {
				p.RestoreReplace(t.Context(), key, 0, dump)
			}
			return nil
		})
		b.must(t, err)
	}
}

func (b *bench) must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConfigurationThatCannotWork(t *testing.T) {
	b := newBench(t)
	raw, _ := b.identity.Token(t, "u")
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
		{"a resolved reference that is no URL", "redis", map[string]any{"redis_url": "localhost:6379"}},
		{"a wrong type", "decode", map[string]any{"issuer": 7}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := b.kong.Configure(t, tt.name, without, tt.extra)
			r := &plugintest.Request{Header: map[string]string{"authorization": "Bearer " + raw}}
			result := b.kong.Handle(t, config, r)
			if result.Exit == nil || result.Exit.Status != 503 || r.Upstream != nil {
				t.Errorf("got %+v, want 503", result.Exit)
			}
			if !strings.Contains(b.kong.Log.String(), tt.wantLog) {
				t.Errorf("the log does not say why: %s", b.kong.Log.String())
			}
		})
	}
	if b.header(t, raw) == "" {
		t.Error("other configurations work on")
	}
}

// Routes that differ in what they demand share what the process has: verified
// tokens, the feeds and the connections to Redis. Checked by putting the audience
// into shared.
func TestRoutesShareWhatTheProcessHas(t *testing.T) {
	b := newBench(t)
	registry := prometheus.NewRegistry()
	b.kong = plugintest.Serve(t, define(), pluginserver.Process{Metrics: registry})
	b.config = b.kong.Configure(t, "a", b.values(), nil)
	raw, _ := b.identity.Token(t, "u")
	b.header(t, raw)
	values := b.values()
	for id, extra := range map[string]map[string]any{
		"also":      {"also_audience": "earlybird/password"},
		"fail open": {"revocation": "optional"},
		"other":     {"audience": "other"},
	} {
		route := maps.Clone(values)
		maps.Copy(route, extra)
		r := &plugintest.Request{Header: map[string]string{"authorization": "Bearer " + raw}}
		result := b.kong.Handle(t, b.kong.Configure(t, id, route, nil), r)
		if refused := result.Exit != nil && result.Exit.Status == 401; refused != (id == "other") {
			t.Errorf("%s: %+v", id, result.Exit)
		}
	}
	for name, want := range map[string]float64{
		"earlybird_auth_tokens": 1, "earlybird_auth_users": 1, `earlybird_auth_token_lookups_total{hit}`: 3, `earlybird_auth_token_lookups_total{miss}`: 1,
	} {
		if got := metric(t, registry, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	r := &plugintest.Request{Header: map[string]string{"authorization": "Bearer " + raw}}
	values["issuer"] = "another"
	if result := b.kong.Handle(t, b.kong.Configure(t, "another issuer", values, nil), r); result.Exit == nil || result.Exit.Status != 401 {
		t.Errorf("another issuer's route takes the token: %+v", result.Exit)
	}
}

// What an audit asks of an edge is where it stands in the log, all of one moment.
// Checked by leaving the limit out of the state: it is 0 then.
func TestWhereTheEdgeStands(t *testing.T) {
	b := newBench(t)
	registry := prometheus.NewRegistry()
	b.kong = plugintest.Serve(t, define(), pluginserver.Process{Metrics: registry})
	families, err := registry.Gather()
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "earlybird_auth_campaign_") {
			t.Errorf("without a configuration there is %s", f.GetName())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	b.config = b.kong.Configure(t, "a", b.values(), nil)
	raw, _ := b.identity.Token(t, "u")
	b.header(t, raw)
	b.campaign.Start(t, 2)
	b.campaign.Placed(t, "u", "v", "w")
	b.campaign.Do(t, campaign.Void("u"))
	state, err := b.campaign.Mirror.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"epoch": float64(state.Epoch), "seq": float64(state.Seq), "limit": 3, "fresh": 1} {
		testserver.Eventually(t, name, func() bool { return metric(t, registry, "earlybird_auth_campaign_"+name) == want })
	}
}

// metric is the value of a metric named name, or name{label's value}.
func metric(t testing.TB, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	name, label, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestRedisURLFromTheFile(t *testing.T) {
	b := newBench(t)
	kong := plugintest.Serve(t, define(), pluginserver.Process{RedisURL: func() (string, error) { return b.redisURL, nil }})
	values := b.values()
	delete(values, "redis_url")
	raw, _ := b.identity.Token(t, "u")
	r := &plugintest.Request{Header: map[string]string{"authorization": "Bearer " + raw}}
	if result := kong.Handle(t, kong.Configure(t, "a", values, nil), r); result.Exit != nil {
		t.Errorf("exit %d", result.Exit.Status)
	}
}
