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
	"google.golang.org/protobuf/proto"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/deploy/plugintest"
	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
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

func (b *bench) claim(t testing.TB, user string, want campaign.State) {
	t.Helper()
	if got := b.campaign.Claimer.Claim(t.Context(), user); got.State != want {
		t.Fatalf("claim: %+v, want %s", got, want)
	}
}

func TestAcceptedRequest(t *testing.T) {
	b := newBench(t)
	b.campaign.Start(t, 1)
	b.claim(t, "winner", campaign.StateGranted)
	b.claim(t, "late", campaign.StateFull)
	tests := []struct{ name, user, want string }{
		{"granted", "winner", `user="winner", token="%s", campaign="1", rank=1, discount=30`},
		{"waiting", "late", `user="late", token="%s"`},
		{"never arrived", "other", `user="other", token="%s"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw, claims := b.identity.Token(t, tt.user)
			for _, attempt := range []string{"first", "remembered"} {
				got := b.header(t, raw)
				if want := fmt.Sprintf(tt.want, claims.ID); got != want {
					t.Errorf("%s: got %s, want %s", attempt, got, want)
				}
				if _, err := httpsfv.UnmarshalDictionary([]string{got}); err != nil {
					t.Errorf("not a dictionary: %v", err)
				}
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

func TestPositionIsRightWithinASecondOfAChange(t *testing.T) {
	b := newBench(t)
	b.campaign.Start(t, 1)
	raw, claims := b.identity.Token(t, "u")
	base := fmt.Sprintf(`user="u", token="%s"`, claims.ID)
	is := func(suffix string) func() bool {
		return func() bool { return b.header(t, raw) == base+suffix }
	}
	plugintest.Eventually(t, "no grant yet", is(""))
	b.claim(t, "first", campaign.StateGranted)
	b.claim(t, "u", campaign.StateFull)
	plugintest.Eventually(t, "on the waiting list", is(""))
	b.campaign.Must(t)(b.campaign.Admin.Extend(t.Context(), 2))
	raised := plugintest.Eventually(t, "granted by more slots", is(`, campaign="1", rank=2, discount=30`))
	b.campaign.Must(t)(b.campaign.Admin.End(t.Context()))
	plugintest.Eventually(t, "kept when the campaign has ended", is(`, campaign="1", rank=2, discount=30`))
	b.campaign.Start(t, 5)
	gone := plugintest.Eventually(t, "gone with the next campaign", is(""))
	b.claim(t, "u", campaign.StateGranted)
	granted := plugintest.Eventually(t, "granted in the next campaign", is(`, campaign="2", rank=1, discount=30`))
	plugintest.Promptly(t, raised, gone, granted)
}

func TestRedisDown(t *testing.T) {
	server := testserver.Redis(t)
	b := newBenchOn(t, server.URL())
	b.campaign.Start(t, 1)
	b.claim(t, "winner", campaign.StateGranted)
	winner, _ := b.identity.Token(t, "winner")
	other, claims := b.identity.Token(t, "other")
	b.header(t, winner)
	b.header(t, other)
	server.Kill()
	unknown := fmt.Sprintf(`user="other", token="%s", grant=unknown`, claims.ID)
	plugintest.Eventually(t, "no grant may have changed unheard", func() bool { return b.header(t, other) == unknown })
	if got := b.header(t, winner); !strings.Contains(got, "rank=1") {
		t.Errorf("a grant that is remembered holds: %s", got)
	}
	fresh, _ := b.identity.Token(t, "fresh")
	if got := b.header(t, fresh); !strings.HasSuffix(got, "grant=unknown") {
		t.Errorf("a position that cannot be read: %s", got)
	}
	server.Start()
	b.campaign.Restore(t)
	deadline := time.Now().Add(10 * time.Second)
	for strings.Contains(b.header(t, fresh), "unknown") {
		if time.Now().After(deadline) {
			t.Fatalf("does not heal: %s", b.kong.Log)
		}
		time.Sleep(5 * time.Millisecond)
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
		"earlybird_auth_tokens": 1, `earlybird_auth_token_lookups_total{hit}`: 3, `earlybird_auth_token_lookups_total{miss}`: 1,
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
