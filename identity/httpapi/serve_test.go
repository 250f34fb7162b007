package httpapi_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/httpapi"
)

func TestRouting(t *testing.T) {
	s := start(t)
	cases := map[string]struct {
		method, path string
		status       int
		allow        string
	}{
		"root":                 {"GET", "/", 404, ""},
		"unknown":              {"GET", "/nope", 404, ""},
		"unknown, posted":      {"POST", "/nope", 404, ""},
		"case matters":         {"GET", "/Promotion", 404, ""},
		"trailing slash":       {"GET", "/promotion/", 404, ""},
		"double slash":         {"GET", "//promotion", 404, ""},
		"dots":                 {"GET", "/users/../promotion", 404, ""},
		"no id":                {"GET", "/users/", 404, ""},
		"deeper":               {"GET", "/users/a/b", 404, ""},
		"NUL":                  {"GET", "/users%00", 404, ""},
		"schemas of huma":      {"GET", "/schemas/Problem.json", 404, ""},
		"yaml of huma":         {"GET", "/openapi.yaml", 404, ""},
		"file of docs":         {"GET", "/docs/nope.js", 404, ""},
		"list of docs":         {"GET", "/docs/static/", 404, ""},
		"get users":            {"GET", "/users", 405, "POST, OPTIONS"},
		"get login":            {"GET", "/login", 405, "POST, OPTIONS"},
		"delete user":          {"DELETE", "/users/a", 405, "GET, HEAD, OPTIONS"},
		"post promotion":       {"POST", "/promotion", 405, "GET, HEAD, OPTIONS"},
		"made-up method":       {"BREW", "/login", 405, "POST, OPTIONS"},
		"post keys":            {"POST", "/.well-known/jwks.json", 405, "GET, HEAD, OPTIONS"},
		"post metadata":        {"POST", "/.well-known/oauth-authorization-server", 405, "GET, HEAD, OPTIONS"},
		"options":              {"OPTIONS", "/login", 204, "POST, OPTIONS"},
		"options, of a reader": {"OPTIONS", "/promotion", 204, "GET, HEAD, OPTIONS"},
		"options, unknown":     {"OPTIONS", "/nope", 404, ""},
		"head":                 {"HEAD", "/livez", 200, ""},
		"head, refused":        {"HEAD", "/promotion", 401, ""},
		"query junk":           {"GET", "/livez?%zz&a=b;c", 200, ""},
		"docs":                 {"GET", "/docs", 200, ""},
		"docs, slash":          {"GET", "/docs/", 200, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := s.raw(t, c.method+" "+c.path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", false)
			if got.status != c.status || got.header.Get("Allow") != c.allow {
				t.Errorf("%d, Allow %q, want %d and %q", got.status, got.header.Get("Allow"), c.status, c.allow)
			}
			if got.header.Get("X-Request-Id") == "" || got.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("headers %v", got.header)
			}
			if c.status >= 400 && c.method != "HEAD" {
				got.problem(t)
			}
		})
	}
}

func TestLargeHeads(t *testing.T) {
	s := start(t)
	var flood strings.Builder
	for range 3000 {
		flood.WriteString("a: b\r\n")
	}
	cases := map[string]struct {
		line, headers string
		status        int
	}{
		"150 headers":    {"GET /livez", strings.Repeat("X-A: b\r\n", 150), 200},
		"header flood":   {"GET /livez", flood.String() + strings.Repeat("X-Pad: "+strings.Repeat("p", 1000)+"\r\n", 25), 431},
		"one huge value": {"GET /livez", "X-A: " + strings.Repeat("a", 40000) + "\r\n", 431},
		"long URI":       {"GET /livez?" + strings.Repeat("a", 9000), "", 414},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := s.raw(t, c.line+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+c.headers+"\r\n", false)
			if got.status != c.status {
				t.Fatalf("%d %s, want %d", got.status, got.body, c.status)
			}
			if c.status != 200 {
				got.problem(t)
			}
		})
	}
}

func TestRequestID(t *testing.T) {
	s := start(t)
	cases := map[string]struct {
		header, value string
		kept          bool
	}{
		"sane":          {"X-Request-Id", "0b8c3d2e-1f7a-4f43-9c53-5a6d6e1f0c11", true},
		"Kong's":        {"Kong-Request-ID", "0b8c3d2e#12", true},
		"empty":         {"X-Request-Id", "", false},
		"too long":      {"X-Request-Id", strings.Repeat("a", 129), false},
		"breaks a log":  {"X-Request-Id", `a" status=200`, false},
		"not ASCII":     {"X-Request-Id", "Ünique", false},
		"leading minus": {"X-Request-Id", "-x", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			id := s.get(t, "/nope", header(c.header, c.value)).header.Get("X-Request-Id")
			if (id == c.value) != c.kept || id == "" {
				t.Errorf("%s: %q is answered with %q", c.header, c.value, id)
			}
			if !strings.Contains(s.logs.String(), "request_id="+id) && !strings.Contains(s.logs.String(), `request_id="`+id) {
				t.Errorf("id %q is not in the log", id)
			}
		})
	}
}

func TestAccessLog(t *testing.T) {
	s := start(t)
	id := s.register(t, "alice")
	raw := s.token(t, id)
	s.get(t, "/users/"+id+"?q="+secret, bearer(raw), header("X-Request-Id", "req-1"))
	s.do(t, secret, "/users/"+secret, nil)
	logs := s.logs.String()
	if n := strings.Count(logs, "request_id=req-1"); n != 1 {
		t.Errorf("%d events for one request: %s", n, logs)
	}
	if !strings.Contains(logs, `msg=request method=GET route="GET /users/{id}" status=200 duration_ms=`) {
		t.Errorf("no access log of the read: %s", logs)
	}
	for what, text := range map[string]string{"query or path": secret, "token": raw, "password": goodPassword} {
		if strings.Contains(logs, text) {
			t.Errorf("the log has the %s: %s", what, logs)
		}
	}
}

func TestPanicIsA500(t *testing.T) {
	s := start(t)
	for name, value := range map[string]any{"text": secret, "error": errors.New(secret)} {
		t.Run(name, func(t *testing.T) {
			s.promotions.panics = value
			got := s.get(t, "/promotion", bearer(s.token(t, "U")))
			if got.status != http.StatusInternalServerError || got.header.Get("X-Request-Id") == "" {
				t.Fatalf("%d %s", got.status, got.body)
			}
			got.problem(t)
			if strings.Contains(got.body, secret) || strings.Contains(s.logs.String(), secret) {
				t.Error("the value of the panic is told")
			}
			if !strings.Contains(s.logs.String(), "handler panicked") {
				t.Error("the panic is not logged")
			}
		})
	}
	if got := s.get(t, "/livez"); got.status != 200 {
		t.Errorf("the service is gone: %d", got.status)
	}
}

// TestPasswordIsNeverTold goes through everything that has a password in it,
// the failures included.
func TestPasswordIsNeverTold(t *testing.T) {
	s := start(t)
	var told strings.Builder
	send := func(path, body string) {
		got := s.post(t, path, body)
		told.WriteString(got.body)
		for name, values := range got.header {
			told.WriteString(name + strings.Join(values, ""))
		}
	}
	send("/users", credentials("alice", secret))
	send("/users", credentials("alice", secret))
	send("/users", credentials("a", secret))
	send("/users", credentials(secret+" "+secret, secret))
	send("/login", credentials("alice", secret))
	send("/login", credentials("alice", secret+"x"))
	send("/login", credentials("nobody", secret))
	s.hasher.err = errors.New("broken")
	send("/login", credentials("alice", secret))
	send("/users", credentials("bob", secret))
	if strings.Contains(told.String(), secret) {
		t.Errorf("an answer has the password: %s", told.String())
	}
	if logs := s.logs.String(); strings.Contains(logs, secret) || !strings.Contains(logs, "broken") {
		t.Errorf("the log has the password, or lacks the failure: %s", logs)
	}
}

// TestOpenWantsAWholeBackend: a part that is missing is found at the start, not
// by the first request that needs it.
func TestOpenWantsAWholeBackend(t *testing.T) {
	s := startClosed(t)
	if err := s.api.Open(httpapi.Backend{Promotions: s.promotions, Revocations: s.revoked}); err == nil {
		t.Error("a part of a backend was taken for one")
	}
}
