// Package plugintest runs a plugin in a test the way Kong does: over a unix
// socket, with tokens, keys and a campaign that are real.
package plugintest

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/plugin/pluginserver"
	"github.com/earlybird/earlybird/plugin/schema"
)

// What the tokens of an Identity say.
const (
	Issuer   = "https://earlybird.example"
	Audience = "earlybird"
)

// Identity stands for the identity service: it signs tokens and serves keys.
type Identity struct {
	URL string // of the JWKS

	issuer *token.Issuer
	server *httptest.Server

	mu        sync.Mutex
	rotations int
	kid       string // of the key that signs
	key       ed25519.PrivateKey
	keys      map[string]ed25519.PublicKey
	answer    http.HandlerFunc // nil: the keys
}

// NewIdentity starts an identity with one key.
func NewIdentity(t testing.TB) *Identity {
	t.Helper()
	id := &Identity{keys: map[string]ed25519.PublicKey{}}
	id.Rotate(t)
	id.issuer = id.signer(Audience, time.Now)
	id.server = httptest.NewServer(http.HandlerFunc(id.serve))
	t.Cleanup(func() { id.server.Close() })
	id.URL = id.server.URL + "/.well-known/jwks.json"
	return id
}

func (id *Identity) serve(w http.ResponseWriter, r *http.Request) {
	id.mu.Lock()
	answer, jwks := id.answer, token.NewKeySet(id.keys).JSON()
	id.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write(jwks) // the client retries
}

// Rotate adds a key, which signs from now on.
func (id *Identity) Rotate(t testing.TB) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	id.mu.Lock()
	defer id.mu.Unlock()
	id.rotations++
	id.kid, id.key = fmt.Sprintf("k%d", id.rotations), key
	id.keys[id.kid] = public
}

// Withdraw takes away every key but the one that signs.
func (id *Identity) Withdraw() {
	id.mu.Lock()
	defer id.mu.Unlock()
	maps.DeleteFunc(id.keys, func(kid string, _ ed25519.PublicKey) bool { return kid != id.kid })
}

func (id *Identity) signer(audience string, now func() time.Time) *token.Issuer {
	return token.NewIssuer(token.IssuerConfig{
		Issuer: Issuer, Audience: audience, ClientID: "earlybird", Now: now,
		Key: func() (string, ed25519.PrivateKey, error) {
			id.mu.Lock()
			defer id.mu.Unlock()
			return id.kid, id.key, nil
		},
	})
}

// Answer makes the address of the keys answer otherwise; nil: with the keys.
func (id *Identity) Answer(with http.HandlerFunc) {
	id.mu.Lock()
	defer id.mu.Unlock()
	id.answer = with
}

// Down makes the keys unavailable, or available again.
func (id *Identity) Down(down bool) {
	if !down {
		id.Answer(nil)
		return
	}
	id.Answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
}

// Stop ends the server: connections are refused until Start.
func (id *Identity) Stop() { id.server.Close() }

// Start starts the server again, at the same address.
func (id *Identity) Start(t testing.TB) {
	t.Helper()
	listener, err := net.Listen("tcp", strings.TrimPrefix(id.server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	id.server = httptest.NewUnstartedServer(http.HandlerFunc(id.serve))
	_ = id.server.Listener.Close() // its own, in place of which comes the old address
	id.server.Listener = listener
	id.server.Start()
}

// Token issues a token for the user.
func (id *Identity) Token(t testing.TB, user string) (raw string, claims token.Claims) {
	t.Helper()
	return id.TokenOf(t, user, 0)
}

// TokenOf issues a token of a generation for the user.
func (id *Identity) TokenOf(t testing.TB, user string, generation int64) (raw string, claims token.Claims) {
	t.Helper()
	raw, claims, err := id.issuer.Issue(user, generation)
	if err != nil {
		t.Fatal(err)
	}
	return raw, claims
}

// TokenFor issues a token for the user and another audience.
func (id *Identity) TokenFor(t testing.TB, audience, user string) (raw string, claims token.Claims) {
	t.Helper()
	raw, claims, err := id.signer(audience, time.Now).Issue(user, 0)
	if err != nil {
		t.Fatal(err)
	}
	return raw, claims
}

// OldToken issues a token for the user that was issued age ago.
func (id *Identity) OldToken(t testing.TB, user string, age time.Duration) string {
	t.Helper()
	raw, _, err := id.signer(Audience, func() time.Time { return time.Now().Add(-age) }).Issue(user, 0)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Kong is a gateway with one plugin.
type Kong struct {
	Plugin *kongwire.Plugin
	Log    *testserver.Output
	Socket string

	schema   schema.Schema
	phase    string
	sequence atomic.Int64
}

// Serve serves a plugin on a socket until the test ends. process may have a
// RedisURL.
func Serve(t testing.TB, d pluginserver.Definition, process pluginserver.Process) *Kong {
	t.Helper()
	k := &Kong{Log: &testserver.Output{}, schema: d.Schema, phase: d.Phase}
	process.Log = slog.New(slog.NewJSONHandler(k.Log, nil))
	ctx, cancel := context.WithCancel(context.Background())
	server, err := pluginserver.New(ctx, pluginserver.Config{Plugin: d, Process: process})
	if err != nil {
		t.Fatal(err)
	}
	k.Socket = filepath.Join(t.TempDir(), "p.socket")
	listener, err := pluginserver.Listen(ctx, k.Socket)
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- server.Serve(serving, listener) }()
	k.Plugin = kongwire.NewPlugin(kongwire.Config{Name: d.Name, Socket: k.Socket})
	t.Cleanup(func() {
		k.Plugin.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		cancel()
	})
	return k
}

// Config is one entry of the plugin in kong.yml.
type Config struct {
	id       string
	sequence int64
	json     []byte
}

// Start starts an instance of its own and returns its number.
func (k *Kong) Start(t testing.TB, c Config) int32 {
	t.Helper()
	client := kongwire.NewClient(k.Socket)
	defer client.Close()
	id, err := client.StartInstance(context.Background(), "p", c.json)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Configure returns the entry of this id with these values, in the form in
// which Kong sends them. extra members are added as they are.
func (k *Kong) Configure(t testing.TB, id string, values, extra map[string]any) Config {
	t.Helper()
	if faults := schema.Validate(k.schema, values); faults != nil {
		t.Fatalf("Kong refuses the configuration: %v", faults)
	}
	sent := schema.Fill(k.schema, values)
	maps.Copy(sent, extra)
	c := Config{id: id, sequence: k.sequence.Add(1)}
	sent["__seq__"], sent["__plugin_id"] = c.sequence, id
	var err error
	if c.json, err = json.Marshal(sent); err != nil {
		t.Fatal(err)
	}
	return c
}

// Handle runs the plugin's event for one request.
func (k *Kong) Handle(t testing.TB, c Config, r *Request) kongwire.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	result, err := k.Plugin.Handle(ctx, k.Event(c, r))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// Event is the plugin's event for one request.
func (k *Kong) Event(c Config, r *Request) kongwire.Event {
	return kongwire.Event{PluginID: c.id, Sequence: c.sequence, Config: c.json, Phase: k.phase, PDK: r.Answer}
}

// Request is one request at the gateway: what the plugin may ask about it, and
// what it did to it.
type Request struct {
	Header   map[string]string // of the request, lower case names
	Status   int               // of the service's response
	Answered map[string]string // headers of the service's response, lower case names
	Body     []byte            // of the service's response
	// Fail makes the call of this method end the event with an error.
	Fail string

	Calls      []string          // the calls made, kong.log's left out
	Upstream   map[string]string // headers set for the service
	Downstream map[string]string // headers set for the client
}

type failure string

func (f failure) Error() string { return string(f) }

// Answer answers one call of the plugin.
func (r *Request) Answer(method string, args []byte) (proto.Message, error) {
	if strings.HasPrefix(method, "kong.log.") {
		return nil, nil
	}
	r.Calls = append(r.Calls, method)
	if method == r.Fail {
		return nil, failure("failed on purpose")
	}
	switch method {
	case "kong.request.get_header":
		var name kong_plugin_protocol.String
		err := proto.Unmarshal(args, &name)
		return &kong_plugin_protocol.ByteString{V: []byte(r.Header[strings.ToLower(name.GetV())])}, err
	case "kong.service.response.get_header":
		var name kong_plugin_protocol.String
		err := proto.Unmarshal(args, &name)
		return &kong_plugin_protocol.ByteString{V: []byte(r.Answered[strings.ToLower(name.GetV())])}, err
	case "kong.service.response.get_status", "kong.response.get_status":
		return &kong_plugin_protocol.Int{V: int32(r.Status)}, nil //nolint:gosec // G115: an HTTP status has three digits.
	case "kong.service.response.get_raw_body":
		return &kong_plugin_protocol.RawBodyResult{Kind: &kong_plugin_protocol.RawBodyResult_Content{Content: r.Body}}, nil
	case "kong.service.request.set_header":
		return nil, set(&r.Upstream, args)
	case "kong.response.set_header":
		return nil, set(&r.Downstream, args)
	}
	return nil, failure("method " + method + " not found")
}

func set(headers *map[string]string, args []byte) error {
	var pair kong_plugin_protocol.KV
	if err := proto.Unmarshal(args, &pair); err != nil {
		return err
	}
	if *headers == nil {
		*headers = map[string]string{}
	}
	(*headers)[pair.GetK()] = pair.GetV().GetStringValue()
	return nil
}
