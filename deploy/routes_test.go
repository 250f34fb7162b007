package deploy_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/earlybird/earlybird/identity/httpapi"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/plugin/settings"
)

type kongPlugin struct {
	Name   string
	Config struct {
		Issuer, Audience string
		AlsoAudience     string `yaml:"also_audience"`
		JWKSURL          string `yaml:"jwks_url"`
		Access           []string
		HeaderName       string `yaml:"header_name"`
		Minute           int
		Size             int    `yaml:"allowed_payload_size"`
		Unit             string `yaml:"size_unit"`
	}
}

type kongRoute struct {
	Name           string
	Methods, Paths []string
	StripPath      *bool `yaml:"strip_path"`
	Plugins        []kongPlugin
}

func (r kongRoute) has(plugin string) bool {
	return slices.ContainsFunc(r.Plugins, func(p kongPlugin) bool { return p.Name == plugin })
}

type kongFile struct {
	Upstreams []struct {
		Name         string
		Targets      []struct{ Target string }
		Healthchecks struct {
			Active struct {
				HTTPPath           string `yaml:"http_path"`
				Healthy, Unhealthy struct {
					Interval     float64
					HTTPFailures int `yaml:"http_failures"`
				}
			}
		}
	}
	Services []struct {
		Name, Host string
		Routes     []kongRoute
		Plugins    []kongPlugin
	}
	Plugins []kongPlugin
}

func kongYML(t *testing.T) kongFile {
	t.Helper()
	var f kongFile
	if err := yaml.Unmarshal([]byte(read(t, "kong/kong.yml")), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// route finds a request's route as Kong 3.9 does: all paths are anchored
// expressions here, and of the routes that match, one with methods wins.
func (f kongFile) route(method, path string) *kongRoute {
	var found *kongRoute
	for i, r := range f.Services[0].Routes {
		fits := slices.ContainsFunc(r.Paths, func(p string) bool {
			return regexp.MustCompile("^(?:" + strings.TrimPrefix(p, "~") + ")").MatchString(path)
		})
		if !fits || (len(r.Methods) > 0 && !slices.Contains(r.Methods, method)) {
			continue
		}
		if found == nil || (len(found.Methods) == 0 && len(r.Methods) > 0) {
			found = &f.Services[0].Routes[i]
		}
	}
	return found
}

func TestRoutes(t *testing.T) {
	f := kongYML(t)
	tests := []struct{ method, path, route string }{
		{"POST", "/login", "login"},
		{"GET", "/login", "other-methods"},
		{"POST", "/login/", ""},
		{"POST", "/loginx", ""},
		{"POST", "/x/login", ""},
		{"POST", "/users", "public"},
		{"GET", "/users", "public"},
		{"GET", "/users/abc", "protected"},
		{"HEAD", "/users/abc", "protected"},
		{"DELETE", "/users/abc", "other-methods"},
		{"PUT", "/users/abc/password", "password"},
		{"GET", "/users/abc/password", "other-methods"},
		{"PUT", "/users/abc/password/", ""},
		{"POST", "/logout", "logout"},
		{"GET", "/logout", "other-methods"},
		{"GET", "/users/", ""},
		{"GET", "/promotion", "protected"},
		{"POST", "/promotion", "other-methods"},
		{"GET", "/.well-known/jwks.json", "public"},
		{"GET", "/xwell-known/jwks.json", ""},
		{"GET", "/.well-known/oauth-authorization-server", "public"},
		{"GET", "/.well-known/oauth-authorization-server/bank/login", "public"},
		{"GET", "/.well-known/oauth-authorization-servers", ""},
		{"GET", "/.well-known/openid-configuration", ""},
		{"GET", "/openapi.json", "public"},
		{"GET", "/docs", "public"},
		{"GET", "/docs/", "public"},
		{"GET", "/docs/swagger-ui.css", "public"},
		{"GET", "/docsx", ""},
		{"GET", "/livez", ""},
		{"GET", "/readyz", ""},
		{"GET", "/servingz", ""},
		{"GET", "/", ""},
		{"GET", "/nope", ""},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			got := ""
			if r := f.route(tt.method, tt.path); r != nil {
				got = r.Name
			}
			if got != tt.route {
				t.Errorf("goes to %q, want %q", got, tt.route)
			}
		})
	}
}

// TestRoutesGuardTheHeader: a client's own Earlybird header reaches nothing. It
// is removed on every route, whatever number of headers comes before it, and
// before earlybird-auth sets it: pre-function is what Kong runs first, and
// clear_header looks at all headers, unlike request-transformer.
func TestRoutesGuardTheHeader(t *testing.T) {
	f := kongYML(t)
	removes := slices.ContainsFunc(f.Plugins, func(p kongPlugin) bool {
		return p.Name == "pre-function" && slices.Equal(p.Config.Access, []string{`kong.service.request.clear_header("Earlybird")`})
	})
	if !removes {
		t.Error("a client's Earlybird header is not removed on every route")
	}
	for _, p := range f.Plugins {
		if p.Name == settings.AuthName || p.Name == settings.TagName {
			t.Errorf("%s runs on every route", p.Name)
		}
	}
	if len(f.Services[0].Plugins) > 0 {
		t.Error("the service has plugins of its own: they run on every route, and in the place of those above")
	}
	for _, r := range f.Services[0].Routes {
		if r.has("pre-function") {
			t.Errorf("route %s has a pre-function in the place of the one that removes the header", r.Name)
		}
		if r.has(settings.TagName) && (r.Name != "login" || !slices.Equal(r.Methods, []string{"POST"})) {
			t.Errorf("route %s is buffered for %s", r.Name, settings.TagName)
		}
		if r.StripPath == nil || *r.StripPath {
			t.Errorf("route %s: Kong would cut the path off", r.Name)
		}
	}
}

// TestRoutesMatchTheAPI: what identity describes is routed, with a plugin
// where a token or a login is described, and nothing else is.
func TestRoutesMatchTheAPI(t *testing.T) {
	f := kongYML(t)
	api, err := httpapi.New(httpapi.Config{})
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	api.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	var description struct {
		Paths map[string]map[string]struct {
			Security []map[string][]string
		}
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &description); err != nil || len(description.Paths) < 6 {
		t.Fatalf("openapi.json: %v, %d paths", err, len(description.Paths))
	}
	health := f.Upstreams[0].Healthchecks.Active.HTTPPath
	// /livez is well while a replica starts and stops, and /readyz unwell while MongoDB is down.
	if _, ok := description.Paths[health]; !ok || health != "/servingz" {
		t.Errorf("Kong probes %s, want identity's /servingz", health)
	}
	for path, operations := range description.Paths {
		sample := strings.NewReplacer("{id}", "abc").Replace(path)
		for method, op := range operations {
			method = strings.ToUpper(method)
			r := f.route(method, sample)
			if internal := slices.Contains([]string{"/livez", "/readyz", "/servingz"}, path); internal != (r == nil) {
				t.Errorf("%s %s: routed %v", method, path, r != nil)
				continue
			} else if internal {
				continue
			}
			if len(op.Security) != 1 || r.has(settings.AuthName) != (op.Security[0]["bearer"] != nil) {
				t.Errorf("%s %s: described with %v, but on route %s", method, path, op.Security, r.Name)
			}
			if r.has(settings.TagName) != (path == "/login") || r.Name == "other-methods" {
				t.Errorf("%s %s is on route %s", method, path, r.Name)
			}
		}
	}
	checkRefusals(t, f, api)
}

// checkRefusals: what no operation answers but a route lets through is refused
// by identity itself, as 405 and a problem.
func checkRefusals(t *testing.T, f kongFile, api http.Handler) {
	t.Helper()
	for _, request := range []string{"GET /login", "PUT /users", "DELETE /users/abc", "POST /promotion", "GET /logout", "POST /users/abc/password", "POST /openapi.json", "PUT /.well-known/jwks.json", "PATCH /docs"} {
		method, path, _ := strings.Cut(request, " ")
		if f.route(method, path) == nil {
			t.Errorf("%s has no route", request)
			continue
		}
		answer := httptest.NewRecorder()
		api.ServeHTTP(answer, httptest.NewRequest(method, path, nil))
		if answer.Code != http.StatusMethodNotAllowed || answer.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", request, answer.Code, answer.Header().Get("Content-Type"))
		}
	}
}

// TestKongYMLFitsCompose: addresses, issuer and audience are identity's.
func TestKongYMLFitsCompose(t *testing.T) {
	f, s := kongYML(t), compose(t).Services["identity"]
	env := environment(s)
	_, port, _ := strings.Cut(env["EARLYBIRD_LISTEN"], ":")
	address := "identity:" + port
	up, service := f.Upstreams[0], f.Services[0]
	if service.Host != up.Name || len(up.Targets) != 1 || up.Targets[0].Target != address || !slices.Contains(s.Expose, port) {
		t.Errorf("service %s, upstream %s, targets %v, exposes %v; want %s", service.Host, up.Name, up.Targets, s.Expose, address)
	}
	if active := up.Healthchecks.Active; active.Healthy.Interval <= 0 || active.Unhealthy.Interval <= 0 {
		t.Errorf("Kong does not look after the replicas by itself: %+v", active)
	}
	seen := 0
	for _, r := range service.Routes {
		for _, p := range r.Plugins {
			if p.Name != settings.AuthName && p.Name != settings.TagName {
				continue
			}
			seen++
			c := p.Config
			if c.Issuer != env["EARLYBIRD_ISSUER"] || c.Audience != env["EARLYBIRD_AUDIENCE"] || c.JWKSURL != "http://"+address+"/.well-known/jwks.json" {
				t.Errorf("%s on %s: %+v", p.Name, r.Name, c)
			}
			// What a one-time password buys opens the change of password alone.
			also := ""
			if r.Name == "password" {
				also = token.PasswordAudience(c.Audience)
			}
			if c.AlsoAudience != also {
				t.Errorf("%s on %s also accepts %q, want %q", p.Name, r.Name, c.AlsoAudience, also)
			}
		}
	}
	if seen != 4 {
		t.Errorf("%d of the project's plugins, want 4", seen)
	}
}

// TestKongYMLLimits: what clients are promised.
func TestKongYMLLimits(t *testing.T) {
	want := map[string]bool{"correlation-id": false, "rate-limiting": false, "request-size-limiting": false, "prometheus": false}
	for _, p := range kongYML(t).Plugins {
		switch c := p.Config; p.Name {
		case "correlation-id":
			want[p.Name] = c.HeaderName == "X-Request-Id"
		case "rate-limiting":
			want[p.Name] = c.Minute == 600
		case "request-size-limiting":
			want[p.Name] = c.Size == 1 && c.Unit == "megabytes"
		default:
			want[p.Name] = true
		}
	}
	for name, right := range want {
		if !right {
			t.Errorf("%s is missing, not for every route, or has another limit", name)
		}
	}
}
