package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/httpapi"
)

// TestMetadata: what RFC 8414 section 3 says of where it is, and nothing that is
// not there. It is served before there is a backend.
func TestMetadata(t *testing.T) {
	const at = "/.well-known/oauth-authorization-server"
	for name, tt := range map[string]struct {
		issuer string
		found  string
		keys   string
		not    []string
	}{
		"a host":           {"https://bank.example", at, "https://bank.example/.well-known/jwks.json", []string{at + "/bank", at + "/"}},
		"a slash":          {"https://bank.example/", at, "https://bank.example/.well-known/jwks.json", []string{at + "/"}},
		"a port":           {"http://[::1]:8081", at, "http://[::1]:8081/.well-known/jwks.json", nil},
		"a path":           {"https://bank.example/login", at + "/login", "https://bank.example/.well-known/jwks.json", []string{at, at + "/", at + "/log", at + "/login/", at + "/login/x", "/login" + at}},
		"a deep path":      {"https://bank.example/a/b/", at + "/a/b", "https://bank.example/.well-known/jwks.json", []string{at + "/a", at + "/a//b"}},
		"a path in braces": {"https://bank.example/{x}", at + "/%7Bx%7D", "https://bank.example/.well-known/jwks.json", []string{at + "/y"}},
		"no issuer":        {"", "", "", []string{at, at + "/"}},
	} {
		t.Run(name, func(t *testing.T) {
			api, err := httpapi.New(httpapi.Config{Issuer: tt.issuer})
			if err != nil {
				t.Fatal(err)
			}
			get := func(path string) *httptest.ResponseRecorder {
				w := httptest.NewRecorder()
				api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				return w
			}
			if tt.found != "" {
				w := get(tt.found)
				want := `{"issuer":"` + tt.issuer + `","jwks_uri":"` + tt.keys + `","response_types_supported":[],"grant_types_supported":[]}`
				if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusOK || got != want {
					t.Errorf("%d %s, want %s", w.Code, got, want)
				}
				if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "public, max-age=60" {
					t.Errorf("headers %v", w.Header())
				}
			}
			for _, path := range tt.not {
				if w := get(path); w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != "application/problem+json" {
					t.Errorf("GET %s: %d %s", path, w.Code, w.Body)
				}
			}
		})
	}
	for _, issuer := range []string{"bank", "/bank", "https:bank", "https://bank.example/%zz"} {
		if _, err := httpapi.New(httpapi.Config{Issuer: issuer}); err == nil {
			t.Errorf("the issuer %q is taken", issuer)
		}
	}
}
