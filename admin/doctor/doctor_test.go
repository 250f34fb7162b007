package doctor

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/token"
)

// part is a stand-in for identity or a gateway: answers by path.
func part(t *testing.T, answers map[string]http.HandlerFunc) string {
	t.Helper()
	mux := http.NewServeMux()
	for path, answer := range answers {
		mux.HandleFunc(path, answer)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func says(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func keySet(t *testing.T, kid string) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(token.NewKeySet(map[string]ed25519.PublicKey{kid: public}).JSON())
}

func TestWeb(t *testing.T) {
	ours, theirs := keySet(t, "ours"), keySet(t, "theirs")
	refused := says(401, "", "WWW-Authenticate", `Bearer realm="earlybird"`)
	ready := says(200, `{"status":"ready"}`)
	tests := []struct {
		name              string
		identity, gateway map[string]http.HandlerFunc
		failing           string // names of the checks that fail
		detail, hint      string // of the first of them
	}{
		{
			name:     "all is well",
			identity: map[string]http.HandlerFunc{"/readyz": ready, jwksPath: says(200, ours)},
			gateway:  map[string]http.HandlerFunc{"/promotion": refused, jwksPath: says(200, ours)},
		},
		{
			name:     "identity lacks its database",
			identity: map[string]http.HandlerFunc{"/readyz": says(503, `{"checks":{"mongodb":"down"}}`), jwksPath: says(200, ours)},
			gateway:  map[string]http.HandlerFunc{"/promotion": refused, jwksPath: says(200, ours)},
			failing:  "identity", detail: `"mongodb":"down"`, hint: "what is missing is named",
		},
		{
			name:     "something else answers in its place",
			identity: map[string]http.HandlerFunc{"/": says(404, "")},
			gateway:  map[string]http.HandlerFunc{"/promotion": refused, jwksPath: says(200, ours)},
			failing:  "identity jwks", detail: "/readyz answered 404", hint: "--identity-url",
		},
		{
			name:     "keys are garbage",
			identity: map[string]http.HandlerFunc{"/readyz": ready, jwksPath: says(200, "hello")},
			gateway:  map[string]http.HandlerFunc{"/promotion": refused, jwksPath: says(200, ours)},
			failing:  "jwks", detail: jwksPath, hint: "identity service's log",
		},
		{
			name:     "the gateway has no route",
			identity: map[string]http.HandlerFunc{"/readyz": ready, jwksPath: says(200, ours)},
			gateway:  map[string]http.HandlerFunc{"/": says(404, `{"message":"no Route matched with those values"}`)},
			failing:  "gateway", detail: "answered 404", hint: "--gateway-url",
		},
		{
			name:     "the gateway leads elsewhere",
			identity: map[string]http.HandlerFunc{"/readyz": ready, jwksPath: says(200, ours)},
			gateway:  map[string]http.HandlerFunc{"/promotion": refused, jwksPath: says(200, theirs)},
			failing:  "gateway", detail: "another identity service", hint: "kong render",
		},
		{
			name:     "the edge is not ready",
			identity: map[string]http.HandlerFunc{"/readyz": ready, jwksPath: says(200, ours)},
			gateway:  map[string]http.HandlerFunc{"/promotion": says(503, ""), jwksPath: says(200, ours)},
			failing:  "gateway", detail: "503", hint: "redis_url",
		},
		{
			name:     "the edge lets everything through",
			identity: map[string]http.HandlerFunc{"/readyz": ready, jwksPath: says(200, ours)},
			gateway:  map[string]http.HandlerFunc{"/promotion": says(200, ""), jwksPath: says(200, ours)},
			failing:  "gateway", detail: "answered 200, not 401", hint: "earlybird-auth on the route",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			web := Web{Client: http.DefaultClient, IdentityURL: part(t, tt.identity), GatewayURL: part(t, tt.gateway)}
			var failing []string
			var first Result
			for _, r := range Examine(context.Background(), web.Checks()) {
				if r.OK {
					continue
				}
				if failing = append(failing, r.Check); len(failing) == 1 {
					first = r
				}
			}
			if got := strings.Join(failing, " "); got != tt.failing {
				t.Fatalf("failing: %q, want %q (%+v)", got, tt.failing, first)
			}
			if !strings.Contains(first.Detail, tt.detail) || !strings.Contains(first.Hint, tt.hint) {
				t.Errorf("%+v, want %q and %q", first, tt.detail, tt.hint)
			}
		})
	}
}

func TestExamineBoundsEachCheck(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // as when the time is over
	wait := func(ctx context.Context) (string, error) {
		if _, bounded := ctx.Deadline(); !bounded {
			return "", errors.New("no time limit")
		}
		<-ctx.Done()
		return "", ctx.Err()
	}
	results := Examine(ctx, []Check{{Name: "a", Hint: "h", Look: wait}, {Name: "b", Look: wait}})
	for i, name := range []string{"a", "b"} {
		if r := results[i]; r.Check != name || r.OK || r.Detail != context.Canceled.Error() {
			t.Errorf("result %d is %+v", i, r)
		}
	}
}

// TestSecretsOfAddresses: what fails does not quote an address.
func TestSecretsOfAddresses(t *testing.T) {
	for _, address := range []string{"http://u:s3cret@127.0.0.1:1/?token=s3cret", "http://127.0.0.1:1/%zz?token=s3cret", "ftp://127.0.0.1/?token=s3cret"} {
		web := Web{Client: http.DefaultClient, IdentityURL: address, GatewayURL: address}
		for _, r := range Examine(t.Context(), web.Checks()) {
			if r.OK || strings.Contains(r.Detail+r.Hint, "s3cret") {
				t.Errorf("%s: %+v", r.Check, r)
			}
		}
	}
}
