package kong

import (
	"errors"
	"strings"
	"testing"
)

func TestValidateAcceptsWhatIsShipped(t *testing.T) {
	if err := Validate(declarative); err != nil {
		t.Errorf("kong.yml:\n%v", err)
	}
	out, err := Render(Options{IdentityURL: "https://id.example:8443", RedisURL: "rediss://:pw@redis.example:6380/2"})
	if err != nil {
		t.Fatal(err)
	}
	if err := Validate(out); err != nil {
		t.Errorf("rendered:\n%v", err)
	}
}

// TestValidateFinds changes kong.yml in one place and wants that place named.
func TestValidateFinds(t *testing.T) {
	tests := []struct {
		name     string
		old, new string // the first old in kong.yml becomes new
		want     []string
	}{
		{"an old version", `_format_version: "3.0"`, `_format_version: "1.1"`, []string{"_format_version", `write "3.0"`}},
		{"a version that is a number", `_format_version: "3.0"`, `_format_version: 3.0`, []string{"_format_version", "in quotes"}},
		{"no version", `_format_version: "3.0"`, "", []string{"_format_version", "required field missing"}},
		{"a top-level key", "\nplugins:\n", "\nplugin:\n", []string{"plugin: unknown field", "services, routes, plugins"}},
		{"a service field", "    retries: 2", "    retrys: 2", []string{"services.identity.retrys: unknown field"}},
		{"a protocol", "    protocol: http", "    protocol: htpp", []string{"services.identity.protocol: expected one of"}},
		{"a port", "    port: 8081", "    port: 808100", []string{"services.identity.port: value should be between 0 and 65535"}},
		{"a missing host", "    host: identity-replicas\n", "", []string{"services.identity.host: required field missing"}},
		{"a route field", "        strip_path: false", "        strip: false", []string{"services.identity.routes.login.strip: unknown field"}},
		{"a method", "methods: [POST]", "methods: [post]", []string{"routes.login.methods", "capitals"}},
		{"a path", `["~/login$"]`, `["login"]`, []string{"routes.login.paths", "should start with: / (fixed path)"}},
		{"a broken expression", `["~/login$"]`, `["~/login("]`, []string{"routes.login.paths", "not a regular expression"}},
		{"two routes of one name", "- name: protected", "- name: login", []string{"routes.login", "another of the routes has this name"}},
		{"a key given twice", "    retries: 2", "    retries: 2\n    retries: 3", []string{"given before"}},
		{"a plugin that is not there", "name: rate-limiting", "name: rate-limitin", []string{"plugins.rate-limitin", "Kong has no plugin of this name"}},
		{"a number out of range", "              audience: earlybird", "              audience: earlybird\n              leeway: 61", []string{"plugins.earlybird-tag.config.leeway: value should be between 0 and 60"}},
		{"an unknown config field", "              audience: earlybird", "              audience: earlybird\n              extra: 1", []string{"config.extra: unknown field; remove it, or use one of: audience, claim_timeout"}},
		{"a missing config field", "              issuer: https://earlybird.example\n", "", []string{"plugins.earlybird-tag.config.issuer: required field missing"}},
		{"a wrong type", "audience: earlybird", "audience: [a]", []string{"config.audience: expected a string"}},
		{"a Redis URL", `"{vault://env/earlybird-redis-url}"`, "http://:hunter2@redis", []string{"config.redis_url: invalid value"}},
		{"a route of no service", "\nplugins:\n", "\nroutes:\n  - name: x\n    paths: [/x]\n    service: idetity\nplugins:\n", []string{`routes.x.service: there is no such element of services in this file: "idetity"`}},
		{"a plugin on no route", "  - name: prometheus\n", "  - name: prometheus\n    route: {name: lgin}\n", []string{`plugins.prometheus.route: there is no such element of routes in this file: "lgin"`}},
		{"a route that matches nothing", `        paths: ["~/login$", "~/logout$", "~/users/[^/]+$", "~/users/[^/]+/password$", "~/promotion$"]` + "\n", "", []string{"routes.other-methods: matches nothing"}},
		{"a list that is none", "\nplugins:\n", "\nconsumers: []\ntargets: {a: b}\nplugins:\n", []string{"targets: expected a list"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := string(declarative)
			if !strings.Contains(text, tt.old) {
				t.Fatalf("kong.yml has no %q", tt.old)
			}
			err := Validate([]byte(strings.Replace(text, tt.old, tt.new, 1)))
			var faults Faults
			if !errors.As(err, &faults) {
				t.Fatalf("err = %v, want Faults", err)
			}
			if len(faults) != 1 {
				t.Errorf("%d faults, want 1:\n%v", len(faults), err)
			}
			if faults[0].Line < 1 {
				t.Errorf("no line: %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q repeats a password", err)
			}
		})
	}
}

func TestValidateListsEveryFaultByLine(t *testing.T) {
	text := strings.NewReplacer(`_format_version: "3.0"`, `_format_version: "2.1"`, "    retries: 2", "    retrys: 2",
		"name: rate-limiting", "name: rl").Replace(string(declarative))
	var faults Faults
	if err := Validate([]byte(text)); !errors.As(err, &faults) || len(faults) != 3 {
		t.Fatalf("err = %v, want three faults", err)
	}
	for i, want := range []string{"_format_version", "services.identity.retrys", "plugins.rl"} {
		if faults[i].Field != want {
			t.Errorf("fault %d is of %s, want %s", i, faults[i].Field, want)
		}
		lines := strings.Split(text, "\n")
		word := want[strings.LastIndex(want, ".")+1:]
		if !strings.Contains(lines[faults[i].Line-1], word) {
			t.Errorf("line %d is %q, without %q", faults[i].Line, lines[faults[i].Line-1], word)
		}
	}
}

func TestValidateNotYAML(t *testing.T) {
	for _, text := range []string{"", "a: [", "- a", "just words", "\x00"} {
		if err := Validate([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func FuzzValidate(f *testing.F) {
	f.Add(declarative)
	f.Add([]byte("_format_version: \"3.0\"\nservices: [{name: a, routes: [{paths: [1]}], plugins: [{name: earlybird-auth, config: 7}]}]"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("a: &a {b: *a}\nservices: *a"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_ = Validate(data) // must end, and not panic
	})
}
