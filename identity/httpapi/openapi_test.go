package httpapi_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/limit"
	"github.com/earlybird/earlybird/identity/password"
	"github.com/earlybird/earlybird/identity/unavailable"
)

type described struct {
	OpenAPI string
	Servers []struct{ URL string }
	Tags    []struct{ Name string }
	Paths   map[string]map[string]struct {
		Tags      []string
		Security  []map[string][]string
		Responses map[string]struct {
			Description string
			Content     map[string]struct{ Schema json.RawMessage }
			Headers     map[string]json.RawMessage
		}
		RequestBody struct {
			Content map[string]struct{ Schema json.RawMessage }
		}
	}
	Components struct {
		SecuritySchemes map[string]struct{ Type, Scheme string }
		Schemas         map[string]struct {
			Properties           map[string]json.RawMessage
			AdditionalProperties any
		}
	}
}

func describe(t *testing.T, s *service) described {
	t.Helper()
	got := s.get(t, "/openapi.json")
	if got.status != 200 || got.header.Get("Content-Type") != "application/json" {
		t.Fatalf("GET /openapi.json: %d %v", got.status, got.header)
	}
	var document map[string]any
	must(t, json.Unmarshal([]byte(got.body), &document))
	inline(document)
	inlined, err := json.Marshal(document)
	must(t, err)
	var d described
	must(t, json.Unmarshal(inlined, &d))
	return d
}

func TestDescriptionHasEveryRoute(t *testing.T) {
	s := start(t)
	d := describe(t, s)
	if !strings.HasPrefix(d.OpenAPI, "3.1") {
		t.Errorf("openapi %q", d.OpenAPI)
	}
	if b := d.Components.SecuritySchemes["bearer"]; b.Type != "http" || b.Scheme != "bearer" {
		t.Errorf("security schemes %+v", d.Components.SecuritySchemes)
	}
	if len(d.Servers) != 1 || d.Servers[0].URL != "/" || d.Tags[0].Name != "accounts" {
		t.Errorf("servers %v, tags %v: want the one that is asked, and accounts first", d.Servers, d.Tags)
	}
	text := s.get(t, "/openapi.json").body
	for name, schema := range d.Components.Schemas {
		if schema.Properties["$schema"] != nil {
			t.Errorf("schema %s has $schema", name)
		}
		if !strings.Contains(text, `"#/components/schemas/`+name+`"`) {
			t.Errorf("nothing uses the schema %s", name)
		}
	}
	for path, want := range map[string]struct {
		method  string
		guarded bool
	}{
		"/users": {"post", false}, "/login": {"post", false}, "/users/{id}": {"get", true}, "/promotion": {"get", true},
		"/logout": {"post", true}, "/users/{id}/password": {"put", true},
		"/.well-known/jwks.json": {"get", false}, "/.well-known/oauth-authorization-server": {"get", false}, "/livez": {"get", false}, "/readyz": {"get", false}, "/servingz": {"get", false},
		"/openapi.json": {"get", false}, "/docs": {"get", false},
	} {
		op, ok := d.Paths[path][want.method]
		if !ok {
			t.Errorf("%s %s is not described", want.method, path)
		}
		if len(op.Security) != 1 || (op.Security[0]["bearer"] != nil) != want.guarded {
			t.Errorf("%s: security %v", path, op.Security)
		}
		if len(op.Tags) != 1 || !slices.ContainsFunc(d.Tags, func(tag struct{ Name string }) bool { return tag.Name == op.Tags[0] }) {
			t.Errorf("%s: tags %v, described are %v", path, op.Tags, d.Tags)
		}
		for status, answer := range op.Responses {
			if answer.Description == "" {
				t.Errorf("%s %s: %s has no description", want.method, path, status)
			}
		}
	}
}

// TestAnswersAreDescribed makes each operation answer with each status that it
// has, and looks that up in the description.
func TestAnswersAreDescribed(t *testing.T) {
	busy := &password.BusyError{RetryAfter: 1}
	limited := &limit.LimitedError{RetryAfter: 1}
	down := unavailable.New("mongodb", "read", errors.New("down"))
	alice := credentials("alice", goodPassword)
	change := passwords(goodPassword, "another battery staple")
	cases := map[string]struct {
		method, path, route string
		body                string
		prepare             func(s *service)
		anonymous           bool
		want                int
	}{
		"register":             {"POST", "/users", "/users", credentials("bob", goodPassword), nil, true, 201},
		"register, not JSON":   {"POST", "/users", "/users", "x", nil, true, 400},
		"register, taken":      {"POST", "/users", "/users", alice, nil, true, 409},
		"register, large":      {"POST", "/users", "/users", strings.Repeat("x", 20000), nil, true, 413},
		"register, no type":    {"POST", "/users", "/users", "FORM", nil, true, 415},
		"register, coded":      {"POST", "/users", "/users", "GZIP", nil, true, 415},
		"register, invalid":    {"POST", "/users", "/users", "{}", nil, true, 422},
		"register, limited":    {"POST", "/users", "/users", credentials("carol", goodPassword), func(s *service) { s.hasher.err = limited }, true, 429},
		"register, busy":       {"POST", "/users", "/users", credentials("carol", goodPassword), func(s *service) { s.hasher.err = busy }, true, 503},
		"register, broken":     {"POST", "/users", "/users", credentials("carol", goodPassword), func(s *service) { s.hasher.err = io.ErrClosedPipe }, true, 500},
		"login":                {"POST", "/login", "/login", alice, nil, true, 200},
		"login, wrong":         {"POST", "/login", "/login", credentials("alice", "wrong"), nil, true, 401},
		"login, limited":       {"POST", "/login", "/login", alice, func(s *service) { s.hasher.err = limited }, true, 429},
		"login, down":          {"POST", "/login", "/login", alice, func(s *service) { s.hasher.err = down }, true, 503},
		"user":                 {"GET", "/users/ID", "/users/{id}", "", nil, false, 200},
		"user, other":          {"GET", "/users/x", "/users/{id}", "", nil, false, 404},
		"user, anonymous":      {"GET", "/users/x", "/users/{id}", "", nil, true, 401},
		"promotion":            {"GET", "/promotion", "/promotion", "", nil, false, 200},
		"promotion, none":      {"GET", "/promotion", "/promotion", "", func(s *service) { s.promotions.heldErr = &campaign.NoGrantError{Standing: "full", Position: 7} }, false, 404},
		"promotion, down":      {"GET", "/promotion", "/promotion", "", func(s *service) { s.promotions.heldErr = down }, false, 503},
		"promotion, anonymous": {"GET", "/promotion", "/promotion", "", nil, true, 401},
		"logout":               {"POST", "/logout", "/logout", "", nil, false, 204},
		"logout, anonymous":    {"POST", "/logout", "/logout", "", nil, true, 401},
		"logout, pending":      {"POST", "/logout", "/logout", "", func(s *service) { s.revoked.down = true }, false, 503},
		"password":             {"PUT", "/users/ID/password", "/users/{id}/password", change, nil, false, 204},
		"password, anonymous":  {"PUT", "/users/ID/password", "/users/{id}/password", change, nil, true, 401},
		"password, other":      {"PUT", "/users/x/password", "/users/{id}/password", change, nil, false, 404},
		"password, not JSON":   {"PUT", "/users/ID/password", "/users/{id}/password", "x", nil, false, 400},
		"password, large":      {"PUT", "/users/ID/password", "/users/{id}/password", strings.Repeat("x", 20000), nil, false, 413},
		"password, invalid":    {"PUT", "/users/ID/password", "/users/{id}/password", "{}", nil, false, 422},
		"password, limited":    {"PUT", "/users/ID/password", "/users/{id}/password", change, func(s *service) { s.hasher.err = limited }, false, 429},
		"password, pending":    {"PUT", "/users/ID/password", "/users/{id}/password", change, func(s *service) { s.revoked.down = true }, false, 503},
		"keys":                 {"GET", "/.well-known/jwks.json", "/.well-known/jwks.json", "", nil, true, 200},
		"keys, none":           {"GET", "/.well-known/jwks.json", "/.well-known/jwks.json", "", func(s *service) { s.keys.none = true }, true, 503},
		"metadata":             {"GET", "/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server", "", nil, true, 200},
		"live":                 {"GET", "/livez", "/livez", "", nil, true, 200},
		"ready":                {"GET", "/readyz", "/readyz", "", nil, true, 200},
		"serving":              {"GET", "/servingz", "/servingz", "", nil, true, 200},
		"not serving":          {"GET", "/servingz", "/servingz", "", func(s *service) { s.health.Stop() }, true, 503},
		"not ready":            {"GET", "/readyz", "/readyz", "", func(s *service) { s.health.Stop() }, true, 503},
		"description":          {"GET", "/openapi.json", "/openapi.json", "", nil, true, 200},
		"page":                 {"GET", "/docs", "/docs", "", nil, true, 200},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			id := s.register(t, "alice")
			options := []option{header("Content-Type", "application/json")}
			switch c.body {
			case "FORM":
				options = []option{header("Content-Type", "application/x-www-form-urlencoded")}
			case "GZIP":
				options = append(options, header("Content-Encoding", "gzip"))
			}
			if !c.anonymous {
				options = append(options, bearer(s.token(t, id)))
			}
			if c.prepare != nil {
				c.prepare(s)
			}
			got := s.do(t, c.method, strings.Replace(c.path, "ID", id, 1), strings.NewReader(c.body), options...)
			if got.status != c.want {
				t.Fatalf("%d %s, want %d", got.status, got.body, c.want)
			}
			answer, ok := describe(t, s).Paths[c.route][strings.ToLower(c.method)].Responses[strconv.Itoa(got.status)]
			if !ok {
				t.Fatalf("%s %s does not describe %d", c.method, c.route, got.status)
			}
			media, _, _ := strings.Cut(got.header.Get("Content-Type"), ";")
			if _, ok := answer.Content[media]; !ok && got.status != http.StatusNoContent {
				t.Errorf("%s %s %d is %s, described are %v", c.method, c.route, got.status, media, answer.Content)
			}
			for _, name := range []string{"Retry-After", "WWW-Authenticate", "Location", "Earlybird", "Accept", "Accept-Encoding"} {
				if got.header.Get(name) != "" && answer.Headers[name] == nil {
					t.Errorf("%s %s %d: header %s is not described", c.method, c.route, got.status, name)
				}
			}
		})
	}
}

// TestEarlybirdIsDescribed: the description has every status and member of the
// header, what a client does on retry, and a schema that fits what is sent.
func TestEarlybirdIsDescribed(t *testing.T) {
	s := start(t)
	s.register(t, "alice")
	var header struct {
		Description string
		Required    bool
		Schema      struct{ Pattern string }
		Examples    map[string]struct{ Value string }
	}
	must(t, json.Unmarshal(describe(t, s).Paths["/login"]["post"].Responses["200"].Headers["Earlybird"], &header))
	for _, word := range []string{
		"RFC 9651", "`status`", "`campaign`", "`rank`", "`discount`", "`place`",
		"`granted`", "`full`", "`none`", "`paused`", "`ended`", "`pending`", "`retry`", "log in again",
	} {
		if !strings.Contains(header.Description, word) {
			t.Errorf("the description has no %s", word)
		}
	}
	pattern, err := regexp.Compile(header.Schema.Pattern)
	must(t, err)
	var sent []string
	for name, example := range header.Examples {
		if !strings.HasPrefix(example.Value, "status="+name) {
			t.Errorf("example %s is %s", name, example.Value)
		}
		sent = append(sent, example.Value)
	}
	for _, status := range []campaign.Status{"pending", "full", "none", "paused", "ended", "retry"} {
		s.promotions.placement = campaign.Placement{Status: status, Place: campaign.Place{Epoch: 1 << 20, Seq: 3}}
		sent = append(sent, s.post(t, "/login", credentials("alice", goodPassword)).header.Get("Earlybird"))
	}
	for _, value := range sent {
		if !pattern.MatchString(value) || !header.Required {
			t.Errorf("%q does not match %s, or need not be there", value, pattern)
		}
	}
	if pattern.MatchString("status=lucky") {
		t.Error("any status matches the pattern")
	}
}

func TestDocsPage(t *testing.T) {
	s := start(t)
	page := s.get(t, "/docs")
	policy := page.header.Get("Content-Security-Policy")
	if page.status != 200 || !strings.Contains(page.body, `/openapi.json`) || strings.Contains(policy, "unsafe") {
		t.Errorf("%d, policy %q", page.status, policy)
	}
	if strings.Contains(page.body, "//unpkg") || strings.Contains(page.body, "cdn") {
		t.Error("the page loads from elsewhere")
	}
	files := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page.body, -1)
	if len(files) < 3 {
		t.Fatalf("page refers to %v", files)
	}
	for _, f := range files {
		if got := s.get(t, f[1]); got.status != http.StatusOK {
			t.Errorf("GET %s: %d", f[1], got.status)
		}
	}
	for _, block := range regexp.MustCompile(`(?s)<(script|style)>(.*?)</`).FindAllStringSubmatch(page.body, -1) {
		sum := sha256.Sum256([]byte(block[2]))
		if hash := base64.StdEncoding.EncodeToString(sum[:]); !strings.Contains(policy, " 'sha256-"+hash+"'") {
			t.Errorf("the policy forbids the page's own %s", block[1])
		}
	}
}
