package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"

	"github.com/earlybird/earlybird/deploy/local/gateway"
)

// declarative is a kong.yml with one upstream, an open route and one for each
// fake plugin; %s is the target.
const declarative = `
_format_version: "3.0"
upstreams:
  - name: replicas
    targets: [{target: "%s"}]
services:
  - name: svc
    host: replicas
    retries: 1
    connect_timeout: 1000
    read_timeout: 5000
    routes:
      - {name: wrong-method, paths: ["~/tagged$"], strip_path: false}
      - {name: open, paths: ["~/open(/.*)?$"], strip_path: false, plugins: [{name: pre-function, config: {access: ['kong.service.request.clear_header("Earlybird")']}}]}
      - {name: guarded, paths: ["~/guarded$"], methods: [GET, POST], strip_path: false, plugins: [{name: guard, config: {word: x, secret: "{vault://env/guard-secret}"}}]}
      - {name: tagged, paths: ["~/tagged$"], methods: [POST], strip_path: false, plugins: [{name: tagger, config: {word: y}}]}
plugins:
  - name: correlation-id
    config: {header_name: X-Request-Id, generator: uuid, echo_downstream: true}
  - name: rate-limiting
    config: {minute: %d, policy: local, limit_by: ip}
  - name: request-size-limiting
    config: {allowed_payload_size: 1, size_unit: kilobytes}
  - name: prometheus
`

// setup is a gateway between a test and a service that the test looks into.
type setup struct {
	url           string
	guard, tagger *fakePlugin
	gateway       *gateway.Gateway

	mu   sync.Mutex
	seen []*http.Request // what reached the service
}

type settings struct {
	service       http.HandlerFunc
	guard, tagger func(*kongCalls)
	limit         int
	target        string
}

func newSetup(t *testing.T, with settings) *setup {
	t.Helper()
	s := &setup{}
	if with.service == nil {
		with.service = func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "%s %s", r.Method, r.URL.RequestURI())
		}
	}
	for _, event := range []*func(*kongCalls){&with.guard, &with.tagger} {
		if *event == nil {
			*event = func(*kongCalls) {}
		}
	}
	if with.limit == 0 {
		with.limit = 1000
	}
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.Clone(context.WithoutCancel(r.Context())))
		s.mu.Unlock()
		with.service(w, r)
	}))
	t.Cleanup(service.Close)
	if with.target == "" {
		with.target = strings.TrimPrefix(service.URL, "http://")
	}
	s.guard = &fakePlugin{name: "guard", phase: "access", priority: 1450, event: with.guard}
	s.tagger = &fakePlugin{name: "tagger", phase: "response", priority: 1440, event: with.tagger}
	g, err := gateway.New(gateway.Config{
		Declarative: fmt.Appendf(nil, declarative, with.target, with.limit),
		External:    map[string]gateway.External{"guard": s.guard.serve(t), "tagger": s.tagger.serve(t)},
		Getenv:      func(name string) string { return map[string]string{"GUARD_SECRET": "s3cret"}[name] },
		Now:         func() time.Time { return time.Date(2026, 1, 2, 3, 4, 20, 0, time.UTC) },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.gateway = g
	front := httptest.NewServer(g)
	t.Cleanup(front.Close)
	s.url = front.URL
	return s
}

// answer is a response and its body.
type answer struct {
	*http.Response
	body string
}

func (s *setup) do(t *testing.T, method, path string, header http.Header, body string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response, string(text)}
}

// service returns the last request that reached the service, or nil.
func (s *setup) service() *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		return nil
	}
	return s.seen[len(s.seen)-1]
}

func (a answer) want(t *testing.T, status int, part string) {
	t.Helper()
	if a.StatusCode != status || !strings.Contains(a.body, part) {
		t.Errorf("answer %d %q, want %d with %q", a.StatusCode, a.body, status, part)
	}
}

func TestRouting(t *testing.T) {
	s := newSetup(t, settings{})
	for _, c := range []struct {
		name, method, path string
		status             int
		part               string
	}{
		{"a regular expression", "GET", "/open/a?b=c%20d", 200, "GET /open/a?b=c%20d"},
		{"no route", "GET", "/none", 404, `"message":"no Route matched with those values"`},
		{"the expression holds the whole path", "GET", "/guarded/x", 404, "no Route"},
		{"dot segments do not lead out", "GET", "/open/../guarded2", 404, "no Route"},
		{"dot segments are resolved before", "GET", "/none/../open//a/", 200, "GET /open/a/"},
		{"escapes stay", "GET", "/open/a%2fb%61", 200, "GET /open/a%2fb%61"},
		{"a route with methods wins", "POST", "/tagged", 200, "POST /tagged"},
		{"another method goes to the other route", "GET", "/tagged", 200, "GET /tagged"},
	} {
		t.Run(c.name, func(t *testing.T) { s.do(t, c.method, c.path, nil, "").want(t, c.status, c.part) })
	}
}

func TestWhatTheServiceSees(t *testing.T) {
	s := newSetup(t, settings{})
	s.do(t, "POST", "/open", http.Header{
		"Earlybird": {`user="forged"`}, "X-User_id": {"u"}, "X-Forwarded-For": {"10.0.0.1"}, "X-Request-Id": {"mine"},
		"X-Named": {"x"}, "Connection": {"X-Named"}, "Te": {"trailers"},
	}, "body")
	got := s.service()
	for name, want := range map[string]string{
		"Earlybird": "", "X-User_id": "", "X-Named": "", "X-Request-Id": "mine",
		"X-Forwarded-For": "10.0.0.1, 127.0.0.1", "X-Forwarded-Proto": "http", "Te": "",
	} {
		if value := got.Header.Get(name); value != want {
			t.Errorf("the service sees %s: %q, want %q", name, value, want)
		}
	}
	if got.Header.Get("X-Kong-Request-Id") == "" || got.ContentLength != 4 {
		t.Errorf("request id %q, content length %d", got.Header.Get("X-Kong-Request-Id"), got.ContentLength)
	}
}

func TestAccessPlugin(t *testing.T) {
	s := newSetup(t, settings{guard: func(k *kongCalls) {
		switch token := k.getHeader("authorization"); token {
		case "good":
			k.setUpstream("Earlybird", `user="u1"`)
			k.setDownstream("X-Checked", "yes")
		case "":
			k.exit(401, "no token")
		case "unknown":
			k.ask("kong.nothing.such", nil, nil)
		case "early": // of response alone
			k.ask("kong.service.response.get_raw_body", nil, nil)
		case "dies once":
			if k.number == 1 {
				k.ended = true
				return
			}
		}
	}})
	get := func(header http.Header) answer { return s.do(t, "GET", "/guarded", header, "") }
	t.Run("an event whose connection breaks is run again", func(t *testing.T) {
		get(http.Header{"Authorization": {"dies once"}}).want(t, 200, "GET /guarded")
	})
	t.Run("it sets headers both ways", func(t *testing.T) {
		a := get(http.Header{"Authorization": {"good"}, "Earlybird": {"forged"}})
		a.want(t, 200, "GET /guarded")
		if got := s.service().Header.Values("Earlybird"); len(got) != 1 || got[0] != `user="u1"` {
			t.Errorf("the service sees Earlybird %q", got)
		}
		if a.Header.Get("X-Checked") != "yes" {
			t.Error("the header for the client is lost")
		}
	})
	t.Run("Connection deletes what a plugin set", func(t *testing.T) {
		get(http.Header{"Authorization": {"good"}, "Connection": {"keep-alive, earlybird"}}).want(t, 200, "")
		if got := s.service().Header.Get("Earlybird"); got != "" {
			t.Errorf("the service sees Earlybird %q", got)
		}
	})
	before := len(s.seen)
	for name, c := range map[string]struct {
		token  []string
		status int
		part   string
	}{
		"exit":                         {nil, 401, "no token"},
		"an unknown function is a 500": {[]string{"unknown"}, 500, `"message":"An unexpected error occurred"`},
		"a wrong phase is a 500":       {[]string{"early"}, 500, "An unexpected error occurred"},
		"two Authorization lines":      {[]string{"good", "good"}, 400, `"message":"Bad request"`},
		"a line over 8 KiB":            {[]string{strings.Repeat("x", 9000)}, 400, "Request header or cookie too large"},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{}
			if c.token != nil {
				header["Authorization"] = c.token
			}
			a := get(header)
			a.want(t, c.status, c.part)
			if len(s.seen) != before {
				t.Error("the request reached the service")
			}
			if c.status != 400 && a.Header.Get("X-Request-Id") == "" {
				t.Error("no correlation id on the gateway's own answer")
			}
		})
	}
	if got := get(nil).Header.Get("Content-Type"); got != "text/x-plugin" {
		t.Errorf("content type of an exit %q", got)
	}
}

func TestInstanceConfig(t *testing.T) {
	s := newSetup(t, settings{})
	s.do(t, "GET", "/guarded", nil, "").want(t, 200, "")
	s.do(t, "GET", "/guarded", nil, "").want(t, 200, "")
	if len(s.guard.configs) != 1 {
		t.Fatalf("%d instances for one configuration, want 1", len(s.guard.configs))
	}
	config := s.guard.configs[0]
	for name, want := range map[string]any{"word": "x", "secret": "s3cret", "level": 5.0} {
		if config[name] != want {
			t.Errorf("config %s is %v, want %v", name, config[name], want)
		}
	}
	if refs, _ := config["$refs"].(map[string]any); refs["secret"] != "{vault://env/guard-secret}" || config["__plugin_id"] == "" || config["__seq__"] == nil {
		t.Errorf("what Kong adds is missing: %v", config)
	}
}

func TestResponsePlugin(t *testing.T) {
	var body kong_plugin_protocol.RawBodyResult
	mode := "tag"
	s := newSetup(t,
		settings{
			service: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Earlybird", "forged by the service")
				w.WriteHeader(http.StatusCreated)
				_, _ = io.WriteString(w, `{"token":"t"}`)
			},
			tagger: func(k *kongCalls) {
				switch mode {
				case "tag":
					k.ask("kong.service.response.get_raw_body", nil, &body)
					k.setDownstream("Earlybird", "status=granted")
				case "exit":
					k.exit(418, "short")
				case "fail":
					k.ask("kong.service.request.set_header", nil, nil)
				}
			},
		})
	a := s.do(t, "POST", "/tagged", nil, "")
	a.want(t, http.StatusCreated, `{"token":"t"}`)
	if string(body.GetContent()) != `{"token":"t"}` || a.Header.Get("Earlybird") != "status=granted" {
		t.Errorf("the plugin read %q, the client sees %q", body.GetContent(), a.Header.Get("Earlybird"))
	}
	mode = "exit"
	a = s.do(t, "POST", "/tagged", nil, "")
	a.want(t, 418, "short")
	if a.Header.Get("Earlybird") != "forged by the service" || a.Header.Get("Content-Type") != "text/x-plugin" {
		t.Errorf("headers after an exit: %v", a.Header)
	}
	mode = "fail"
	s.do(t, "POST", "/tagged", nil, "").want(t, 500, "An unexpected error occurred")
}

func TestResponsePluginIsNotRunWhenTheServiceIsDown(t *testing.T) {
	s := newSetup(t, settings{target: "127.0.0.1:1", tagger: func(k *kongCalls) { k.t.Error("the response phase ran") }})
	s.do(t, "POST", "/tagged", nil, "").want(t, 502, `"message":"An invalid response was received from the upstream server"`)
}

func TestBodyLimits(t *testing.T) {
	s := newSetup(t, settings{service: func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }})
	s.do(t, "POST", "/open", nil, "small").want(t, 200, "small")
	s.do(t, "POST", "/open", nil, strings.Repeat("x", 1025)).want(t, 413, `"message":"Request size limit exceeded"`)
	s.do(t, "POST", "/open", nil, strings.Repeat("x", 3<<20)).want(t, 413, `"message":"Payload too large"`)
	t.Run("without a length", func(t *testing.T) {
		request, err := http.NewRequestWithContext(t.Context(), "POST", s.url+"/open", io.MultiReader(strings.NewReader(strings.Repeat("x", 2000))))
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != 413 {
			t.Errorf("status %d, want 413", response.StatusCode)
		}
	})
}

func TestRateLimit(t *testing.T) {
	s := newSetup(t, settings{limit: 2, guard: func(k *kongCalls) { k.exit(401, "no") }})
	s.do(t, "GET", "/guarded", nil, "").want(t, 401, "no") // not counted: the plugin comes first
	a := s.do(t, "GET", "/open", nil, "")
	a.want(t, 200, "")
	for name, want := range map[string]string{
		"RateLimit-Limit": "2", "RateLimit-Remaining": "1", "RateLimit-Reset": "40",
		"X-RateLimit-Limit-Minute": "2", "X-RateLimit-Remaining-Minute": "1",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	s.do(t, "GET", "/open", nil, "").want(t, 200, "")
	a = s.do(t, "GET", "/open", nil, "")
	a.want(t, 429, `"message":"API rate limit exceeded"`)
	if a.Header.Get("Retry-After") != "40" {
		t.Errorf("Retry-After: %q, want 40", a.Header.Get("Retry-After"))
	}
}

// TestWhereRequestsAreReadDifferently holds the differences from Kong that
// deploy/README.md names.
func TestWhereRequestsAreReadDifferently(t *testing.T) {
	s := newSetup(t, settings{})
	for name, c := range map[string]struct {
		head   string
		status int
		kind   string
	}{
		"obs-fold":                          {"X-A: a\r\n b\r\n", 200, "text/plain; charset=utf-8"},
		"Content-Length, Transfer-Encoding": {"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n", 200, "text/plain; charset=utf-8"},
		"NUL":                               {"X-A: a\x00b\r\n", 400, "text/plain; charset=utf-8"},
		"a space before the colon":          {"X-A : a\r\n", 400, "text/plain; charset=utf-8"},
		"two lengths":                       {"Content-Length: 1\r\nContent-Length: 2\r\n", 400, "text/plain; charset=utf-8"},
		"two Authorization lines":           {"Authorization: a\r\nAuthorization: b\r\n", 400, "application/json; charset=utf-8"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_, _ = fmt.Fprintf(conn, "GET /open HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s\r\n0\r\n\r\n", c.head)
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			if got := response.Header.Get("Content-Type"); response.StatusCode != c.status || got != c.kind {
				t.Errorf("%d %s, want %d %s", response.StatusCode, got, c.status, c.kind)
			}
		})
	}
}
