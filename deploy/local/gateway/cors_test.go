package gateway_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// corsBlock is the block that deploy/docs/edge.md has for kong.yml.
func corsBlock(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/edge.md")
	if err != nil {
		t.Fatal(err)
	}
	const begin = "      - name: cors\n" // indented by four more than in kong.yml
	_, block, found := strings.Cut(string(page), begin)
	block, _, ends := strings.Cut(block, "\n\n")
	if !found || !ends {
		t.Fatal("edge.md has no block for cors")
	}
	return strings.ReplaceAll("\n"+begin+block+"\n", "\n    ", "\n")
}

// TestCORS: the documented block lets a page of another origin log in, read its
// place and its errors, and no page of a third origin.
func TestCORS(t *testing.T) {
	const mine, other = "https://app.bank.example", "https://evil.example"
	e := newEdge(t, corsBlock(t))
	raw, _ := e.identity.Token(t, "u")
	ask := func(t *testing.T, method, path string, header map[string]string) (status int, answer http.Header) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+e.address+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range header {
			request.Header.Set(name, value)
		}
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode, response.Header
	}
	for _, request := range []string{"POST /users", "POST /login", "GET /users/me", "PUT /users/me/password", "GET /promotion", "POST /logout"} {
		method, path, _ := strings.Cut(request, " ")
		t.Run("preflight of "+request, func(t *testing.T) {
			status, got := ask(t, http.MethodOptions, path, map[string]string{
				"Origin": mine, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization,content-type",
			})
			if status != http.StatusOK || got.Get("Access-Control-Allow-Origin") != mine || !strings.Contains(got.Get("Access-Control-Allow-Methods"), method) {
				t.Errorf("%d %v", status, got)
			}
			for _, name := range []string{"Authorization", "Content-Type"} {
				if !strings.Contains(got.Get("Access-Control-Allow-Headers"), name) {
					t.Errorf("%s may not be sent: %v", name, got)
				}
			}
			if got.Get("Access-Control-Allow-Credentials") != "" {
				t.Error("with credentials")
			}
		})
	}
	for name, c := range map[string]struct {
		method, path, token string
		status              int
	}{
		"an answer":                 {http.MethodGet, "/promotion", "Bearer " + raw, 200},
		"a refusal of the plugin's": {http.MethodGet, "/promotion", "Bearer x", 401},
		"OPTIONS without preflight": {http.MethodOptions, "/login", "", 200}, // which identity answers
	} {
		t.Run(name, func(t *testing.T) {
			status, got := ask(t, c.method, c.path, map[string]string{"Origin": mine, "Authorization": c.token})
			if status != c.status || got.Get("Access-Control-Allow-Origin") != mine || got.Get("Vary") != "Origin" {
				t.Errorf("%d %v", status, got)
			}
			for _, name := range []string{"Earlybird", "Retry-After", "Location", "WWW-Authenticate"} {
				if !strings.Contains(got.Get("Access-Control-Expose-Headers"), name) {
					t.Errorf("%s cannot be read: %v", name, got)
				}
			}
		})
	}
	t.Run("a third origin", func(t *testing.T) {
		for method, header := range map[string]map[string]string{
			http.MethodOptions: {"Origin": other, "Access-Control-Request-Method": "GET"},
			http.MethodGet:     {"Origin": other, "Authorization": "Bearer " + raw},
		} {
			_, got := ask(t, method, "/promotion", header)
			if allowed := got.Get("Access-Control-Allow-Origin"); allowed == other || allowed == "*" {
				t.Errorf("%s: it may read the answer: %s", method, allowed)
			}
		}
	})
}
