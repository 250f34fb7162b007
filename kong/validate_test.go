package kong

import (
	"errors"
	"fmt"
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
		{"a URL with a password", "jwks_url: http://identity", "jwks_url: ftp://u:hunter2@identity", []string{"config.jwks_url: invalid value"}},
		{"a service's URL", "    host: identity-replicas", "    url: foo://u:hunter2@identity", []string{"services.identity.url: the URL's scheme is none of"}},
		{"a host that is a URL", "    host: identity-replicas", "    host: http://u:hunter2@identity", []string{"services.identity.host: "}},
		{"a reference to no secret", `"{vault://env/earlybird-redis-url}"`, `"{vault://env/}"`, []string{"config.redis_url: invalid reference"}},
		{"a limit's name", "minute: 600", "minut: 600", []string{"plugins.rate-limiting.config.minut: unknown field; remove it, or use one of: day, error_code"}},
		{"a limit that is none", "minute: 600", "minute: lots", []string{"plugins.rate-limiting.config.minute: expected a number"}},
		{"a limit of nothing", "minute: 600", "minute: 0", []string{"plugins.rate-limiting.config.minute: value must be greater than 0"}},
		{"no limit", "      minute: 600\n", "", []string{"plugins.rate-limiting.config: at least one of these fields"}},
		{"limits that contradict", "minute: 600", "minute: 600\n      hour: 60", []string{"the limit for hour cannot be lower than the limit for minute"}},
		{"a policy that needs a database", "policy: local", "policy: cluster", []string{"plugins.rate-limiting.config.policy: expected one of: local, redis"}},
		{"a policy without its Redis", "policy: local", "policy: redis", []string{"redis.host: required field missing"}},
		{"a Redis port", "policy: local", "policy: local\n      redis: {port: 70000}", []string{"config.redis.port: value should be between 0 and 65535"}},
		{"a unit", "size_unit: megabytes", "size_unit: MB", []string{"request-size-limiting.config.size_unit: expected one of"}},
		{"a generator", "generator: uuid", "generator: random", []string{"correlation-id.config.generator: expected one of"}},
		{"a metric", "latency_metrics: true", "latency_metrics: 1", []string{"prometheus.config.latency_metrics: expected a boolean"}},
		{"functions that are no list", "        - kong.service", "        kong.service", []string{"pre-function.config.access: expected an array"}},
		{"a phase", "      access:\n", "      acces:\n", []string{"pre-function.config.acces: unknown field; remove it, or use one of: access, body_filter"}},
		{"a plugin that is perhaps on", "  - name: prometheus\n", "  - name: prometheus\n    enabled: perhaps\n", []string{"plugins.prometheus.enabled: expected a boolean"}},
		{"a plugin's protocol", "  - name: rate-limiting\n", "  - name: rate-limiting\n    protocols: [http, tcp]\n", []string{"plugins.rate-limiting.protocols: rate-limiting does not run for tcp"}},
		{"a config that is none", "  - name: prometheus\n    config:\n      status", "  - name: prometheus\n    config: 7\n    _comment: x\nvaults:\n    - status", []string{"plugins.prometheus.config: expected a mapping"}},
		{"an algorithm", "algorithm: least-connections", "algorithm: fastest", []string{"upstreams.identity-replicas.algorithm: expected one of: consistent-hashing, least-connections"}},
		{"an upstream that is an address", "  - name: identity-replicas", "  - name: 10.0.0.1", []string{"upstreams.10.0.0.1.name: invalid name: no ip addresses allowed"}},
		{"a hash without its header", "algorithm: least-connections", "hash_on: header", []string{"hash_on_header: required field missing"}},
		{"a health check's field", "http_path: /servingz", "http_pth: /servingz", []string{"upstreams.identity-replicas.healthchecks.active.http_pth: unknown field; remove it, or use one of: concurrency"}},
		{"a health check's type", "        type: http\n", "        type: smtp\n", []string{"healthchecks.active.type: expected one of: tcp, http"}},
		{"a health check's status", "[200, 204]", "[200, 99]", []string{"healthchecks.active.healthy.http_statuses[1]: value should be between 100 and 999"}},
		{"a target's port", "target: identity:8081", `target: "identity:99999999"`, []string{"upstreams.identity-replicas.targets[0].target: expected a valid host name"}},
		{"a timeout", "connect_timeout: 2000", "connect_timeout: abc", []string{"services.identity.connect_timeout: expected an integer"}},
		{"no timeout", "connect_timeout: 2000", "connect_timeout: 0", []string{"services.identity.connect_timeout: value should be between 1 and"}},
		{"retries", "retries: 2", "retries: -2", []string{"services.identity.retries: value should be between 0 and 32767"}},
		{"verification without TLS", "    retries: 2", "    retries: 2\n    tls_verify: true", []string{"tls_verify: only with the protocol https"}},
		{"a flag that is none", "strip_path: false", "strip_path: maybe", []string{"services.identity.routes.login.strip_path: expected a boolean"}},
		{"protocols that exclude each other", "        methods: [POST]\n", "        methods: [POST]\n        protocols: [http, tcp]\n", []string{"these cannot be together"}},
		{"no protocols", "        methods: [POST]\n", "        methods: [POST]\n        protocols: []\n", []string{"routes.login.protocols: length must be at least 1"}},
		{"an expression for another router", "        methods: [POST]\n", "        methods: [POST]\n        expression: a\n", []string{"routes.login.expression: unknown field"}},
		{"an empty segment", `["~/login$"]`, `["~//login$"]`, []string{"routes.login.paths[0]: must not have empty segments"}},
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

// TestValidateKnowsKongsBooleans: Kong's YAML reader takes yes and off for
// booleans, unless they are quoted.
func TestValidateKnowsKongsBooleans(t *testing.T) {
	for value, valid := range map[string]bool{"yes": true, "off": true, `"yes"`: false} {
		text := strings.ReplaceAll(string(declarative), "strip_path: false", "strip_path: "+value)
		if err := Validate([]byte(text)); (err == nil) != valid {
			t.Errorf("strip_path: %s: %v", value, err)
		}
	}
}

func TestValidateTakesOtherFilesThatKongTakes(t *testing.T) {
	text := `_format_version: "3.0"
upstreams:
  - {name: u, algorithm: consistent-hashing, hash_on: header, hash_on_header: X-A, hash_fallback: ip, host_header: "h:1", tags: [a b]}
services:
  - {name: a, url: "https://a.example/base", enabled: on, tags: [x]}
  - {name: b, host: "::1", protocol: https, tls_verify: true, tls_verify_depth: 2}
  - name: tcp
    host: 10.0.0.1
    protocol: tcp
    routes: [{name: t, protocols: [tcp], sources: [{ip: 10.0.0.0/8}]}]
routes:
  - {name: r, service: {name: a}, hosts: ["*.example"], headers: {x-a: [b]}, protocols: [https], snis: [a.example]}
plugins:
  - name: pre-function
    config: {access: ['kong.service.request.clear_header("X")', 'return'], log: ["return"]}
  - name: rate-limiting
    config: {second: 5, hour: 10000.5, policy: redis, redis: {host: r, password: "{vault://env/redis}"}, sync_rate: 0.5}
  - {name: cors, route: r, config: {whatever: 1}}
  - {name: cors, service: a}
consumers:
  - username: ada
`
	result, err := Check([]byte(text), nil)
	if err != nil || len(result.Faults) > 0 {
		t.Errorf("%v\n%v", err, result.Faults)
	}
	if got := strings.Join(result.Unchecked, "; "); got != "consumers; the Lua of plugins.pre-function.config.access; the Lua of plugins.pre-function.config.log; the config of plugins.cors" {
		t.Errorf("said to be unchecked: %s", got)
	}
}

func TestValidateRefusesASecondDocument(t *testing.T) {
	err := Validate(append(declarative, "---\ngarbage: [\n"...))
	if err == nil || !strings.Contains(err.Error(), "second document") {
		t.Errorf("err = %v", err)
	}
	if err := Validate(append([]byte("---\n"), declarative...)); err != nil {
		t.Errorf("with a line --- before it: %v", err)
	}
}

// TestValidateIsNotBlownUp: an alias may stand for more than there is memory for.
func TestValidateIsNotBlownUp(t *testing.T) {
	text := "_format_version: \"3.0\"\n_comment: &a [x, x, x, x, x, x, x, x, x]\n"
	for i := 'b'; i < 'm'; i++ {
		text += fmt.Sprintf("%c: &%c [%[3]s, %[3]s, %[3]s, %[3]s, %[3]s, %[3]s]\n", i, i, "*"+string(i-1))
	}
	text += "services: [{name: s, host: h, tags: *l}]\n"
	if err := Validate([]byte(text)); err == nil || !strings.Contains(err.Error(), "there is too much in this") {
		t.Errorf("err = %v", err)
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
