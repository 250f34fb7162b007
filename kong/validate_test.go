package kong

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestValidateAcceptsWhatIsShipped(t *testing.T) {
	if err := Validate("kong.yml", declarative); err != nil {
		t.Errorf("kong.yml:\n%v", err)
	}
}

// changed is kong.yml with the first old in it made new.
func changed(t *testing.T, old, new string) []byte {
	t.Helper()
	if !strings.Contains(string(declarative), old) {
		t.Fatalf("kong.yml has no %q", old)
	}
	return []byte(strings.Replace(string(declarative), old, new, 1))
}

const (
	clearLine = `        - kong.service.request.clear_header("Earlybird")`
	tagPlugin = `        plugins:
          - name: earlybird-tag
            config:
              # issuer and audience are what identity's --issuer and --audience say.
              issuer: https://earlybird.example
              audience: earlybird
              jwks_url: http://identity:8081/.well-known/jwks.json
              # EARLYBIRD_REDIS_URL in Kong's own environment.
              redis_url: "{vault://env/earlybird-redis-url}"
`
	authPlugin = `        plugins:
          - name: earlybird-auth
            config:
              issuer: https://earlybird.example
              audience: earlybird
              jwks_url: http://identity:8081/.well-known/jwks.json
              redis_url: "{vault://env/earlybird-redis-url}"
`
)

// TestValidateFinds changes kong.yml in one place and wants that place named.
func TestValidateFinds(t *testing.T) {
	const audience = "              audience: earlybird"
	tests := []struct {
		name     string
		old, new string // the first old in kong.yml becomes new
		want     []string
	}{
		{"a number out of range", audience, audience + "\n              leeway: 61", []string{"plugins.earlybird-tag.config.leeway: value should be between 0 and 60 (Seconds"}},
		{"a default that is null", audience, audience + "\n              leeway: null", []string{"config.leeway: required field missing"}},
		{"a default that is left empty", audience, audience + "\n              leeway:", []string{"config.leeway: required field missing"}},
		{"a number in quotes", audience, audience + "\n              leeway: \"5\"", []string{"config.leeway: expected an integer"}},
		{"an unknown config field", audience, audience + "\n              extra: 1", []string{"config.extra: unknown field; remove it, or use one of: audience, claim_timeout"}},
		{"a missing config field", "              issuer: https://earlybird.example\n", "", []string{"plugins.earlybird-tag.config.issuer: required field missing"}},
		{"a list for a string", "audience: earlybird", "audience: [a]", []string{"config.audience: expected a string"}},
		{"a word that is a boolean", "audience: earlybird", "audience: on", []string{"config.audience: expected a string"}},
		{"digits that are a number", "audience: earlybird", "audience: 12:30", []string{"config.audience: expected a string"}},
		{"a Redis URL", `"{vault://env/earlybird-redis-url}"`, "http://:hunter2@redis", []string{"config.redis_url: invalid value"}},
		{"a URL with a password", "jwks_url: http://identity", "jwks_url: ftp://u:hunter2@identity", []string{"config.jwks_url: invalid value"}},
		{"a config that is a word", "config:\n              # issuer", "config: none\n            _ignore:\n              # issuer", []string{"plugins.earlybird-tag.config: expected a mapping"}},
		{"the login route without earlybird-tag", tagPlugin, "", []string{"services.identity.routes.login: POST /login comes here, and earlybird-tag does not run"}},
		{"earlybird-tag switched off", "- name: earlybird-tag", "- name: earlybird-tag\n            enabled: off", []string{"services.identity.routes.login: POST /login"}},
		{"a protected route without earlybird-auth", authPlugin, "", []string{"services.identity.routes.protected: GET /promotion comes here, and earlybird-auth does not run"}},
		{"a route in front of a protected one", "      - name: public\n", "      - name: mine\n        methods: [GET]\n        regex_priority: 1\n        paths: [~/users/me$]\n      - name: public\n", []string{"services.identity.routes.mine: GET /users/me"}},
		{"a method that no route protects", "        methods: [PUT]\n", "        methods: [POST]\n", []string{"services.identity.routes.other-methods: PUT /users/me/password"}},
		{"no header is removed", clearLine, "        - return", []string{"plugins: no global pre-function removes"}},
		{"another header is removed", clearLine, strings.Replace(clearLine, "Earlybird", "Earlybirds", 1), []string{"plugins: no global"}},
		{"the line is a comment", clearLine, `        - '-- kong.service.request.clear_header("Earlybird")'`, []string{"plugins: no global"}},
		{"the pre-function is for one route", "  - name: pre-function\n", "  - name: pre-function\n    route: login\n", []string{"plugins: no global"}},
		{"the pre-function is for a consumer", "  - name: pre-function\n", "  - name: pre-function\n    consumer: ada\n", []string{"plugins: no global"}},
		{"a pre-function in its place", "      - name: public\n", "      - name: public\n        plugins: [{name: pre-function, config: {access: [return]}}]\n", []string{"services.identity.routes.public.plugins.pre-function: it runs on services.identity.routes.public in the place of the global one"}},
		{"another issuer", "issuer: https://earlybird.example", "issuer: https://bank.example", []string{"protected.plugins.earlybird-auth.config.issuer: differs from that of services.identity.routes.login.plugins.earlybird-tag"}},
		{"another audience", "audience: earlybird\n", "audience: bank\n", []string{"config.audience: differs"}},
		{"an audience of one-time passwords", "earlybird/password", "bank/password", []string{"password.plugins.earlybird-auth.config.also_audience: must be the audience with /password"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Validate("kong.yml", changed(t, tt.old, tt.new))
			var faults Faults
			if !errors.As(err, &faults) {
				t.Fatalf("err = %v, want Faults", err)
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
	text := strings.NewReplacer("also_audience", "also", "\n              issuer: https://earlybird.example\n", "\n", clearLine, "        []").Replace(string(declarative))
	var faults Faults
	if err := Validate("kong.yml", []byte(text)); !errors.As(err, &faults) || len(faults) != 6 {
		t.Fatalf("err = %v, want six faults", err)
	}
	for i, f := range faults[1:] {
		if f.Line < faults[i].Line {
			t.Errorf("line %d after line %d", f.Line, faults[i].Line)
		}
	}
	for _, f := range faults {
		if strings.HasSuffix(f.Field, ".also") && !strings.Contains(strings.Split(text, "\n")[f.Line-1], "also:") {
			t.Errorf("line %d is not where it is", f.Line)
		}
	}
}

// TestValidateTakesWhatKongTakes: other ways to write the same, and what only
// Kong can judge.
func TestValidateTakesWhatKongTakes(t *testing.T) {
	own := func(old, new string) string { return string(changed(t, old, new)) }
	tests := []struct{ name, file, text string }{
		{"an older version, which Kong migrates", "a.yml", own(`_format_version: "3.0"`, `_format_version: "2.1"`)},
		{"a second document, which Kong ignores", "a.yml", string(declarative) + "---\nother: document\n"},
		{"a key given twice: the last wins", "a.yml", own("              audience: earlybird\n", "              audience: [x]\n              audience: earlybird\n")},
		{"nothing of Earlybird", "a.yml", "_format_version: \"3.0\"\nplugins:\nservices: [{name: a, host: b, routes: [{paths: ['~/users/{id}$', '~/[\\w-.]+$', login]}]}]\n"},
		{"other people's logins", "a.yml", "services: [{name: a, url: http://b, routes: [{paths: [/]}]}, {name: c, host: d, routes: [{paths: [/login]}]}]"},
		{"unknown members and wrong values", "a.yml", "services: {a: b}\nroutes: 7\nplugins: [7, {name: cors, config: 7}]\nx: &a [*a]"},
		{"a list for an empty mapping", "a.yml", own("plugins:\n          - name: earlybird-tag", "tags: []\n        plugins:\n          - name: earlybird-tag")},
		{"a tag and a number of YAML 1.1", "a.yml", own("              audience: earlybird\n", "              audience: !!str earlybird\n              leeway: 0b1_01\n")},
		{"a tag for a boolean and for nothing", "a.yml", own("- name: earlybird-tag", "- name: earlybird-tag\n            enabled: !!bool y\n            tags: !!null x")},
		{"an escaped slash", "a.yml", own("jwks_url: http://identity:8081/.well-known/jwks.json", `jwks_url: "http:\/\/identity:8081\/.well-known\/jwks.json"`)},
		{"a question mark between brackets", "a.yml", own("- name: earlybird-tag", "- name: earlybird-tag\n            tags: [what?, http://a/b?c=d&e]")},
		{"YAML 1.2", "a.yml", "%YAML 1.2\n---\n" + string(declarative)},
		{"a number beyond all bounds", "a.json", `{"a": 1e999}`},
		{"a reference to nothing", "a.yml", own(`"{vault://env/earlybird-redis-url}"`, `"{vault://env/}"`)},
		{"null where nothing is needed", "a.yml", own("              redis_url: \"{vault://env/earlybird-redis-url}\"", "              redis_url: null")},
		{"an anchor and merge keys", "a.yml", merged},
		{"plugins at the top, by reference", "a.yml", referring},
		{"JSON", "a.json", asJSON},
		{"JSON in a file without a name for it", "-", asJSON},
		{"Lua of one's own that removes the header too", "a.yml", own(clearLine, "        - |\n          -- first of all\n          kong.service.request.clear_header 'earlybird'\n          return")},
		{"a pre-function where earlybird-auth replaces the header", "a.yml", own("          - name: earlybird-auth\n", "          - {name: pre-function, config: {access: [return]}}\n          - name: earlybird-auth\n")},
		{"a route for other hosts and another service", "a.yml", own("\nplugins:\n", "\nroutes: [{paths: [/promotion], methods: [GET], hosts: [shop.example]}]\nplugins:\n")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := Validate(tt.file, []byte(tt.text)); err != nil {
				t.Error(err)
			}
		})
	}
}

const (
	merged = `
_format_version: "3.0"
_comment: &tokens {issuer: "https://a.example", audience: bank, jwks_url: "http://i/", leeway: 70}
_ignore:
  - &route {strip_path: false, preserve_host: false}
services:
  - name: identity
    host: i
    routes:
      - {<<: *route, name: login, methods: [POST], paths: [~/login$], plugins: [{name: earlybird-tag, config: {<<: *tokens, leeway: 7}}]}
      - {"<<": [*route, {methods: [GET]}], name: protected, paths: [~/promotion$], plugins: [{name: earlybird-auth, config: {leeway: 8, <<: *tokens}}]}
plugins: [{name: pre-function, config: {access: ['kong.service.request.clear_header("Earlybird")']}}]
`
	referring = `
_format_version: "3.0"
services:
  - {name: identity, id: 7f9a2a3e-29f2-4ef5-9d0f-6f1c3f1d2a11, host: i}
routes:
  - {name: login, service: identity, paths: [/login]}
  - {name: rest, service: {id: 7f9a2a3e-29f2-4ef5-9d0f-6f1c3f1d2a11}, paths: [/promotion, /users/, /logout]}
plugins:
  - {name: pre-function, config: {access: ['kong.service.request.clear_header("Earlybird")']}}
  - {name: earlybird-tag, route: login, config: {issuer: "https://a", jwks_url: "http://i"}}
  - {name: earlybird-auth, service: identity, config: {issuer: "https://a", jwks_url: "http://i"}}
`
	asJSON = `{
	"_format_version": "3.0", "services": [{"name": "\u0069dentity", "url": "http:\/\/i", "tags": ["\ud83d\ude00"], "retries": null, "routes": [
		{"name": "login", "paths": ["/login"], "plugins": [{"name": "earlybird-tag", "enabled": true, "config": {"issuer": "https://a", "jwks_url": "http://i", "leeway": 5.0}}]}
	]}],
	"plugins": [{"name": "pre-function", "config": {"access": ["kong.service.request.clear_header(\"Earlybird\")"]}}]
}`
)

func TestValidateFindsFaultsInOtherForms(t *testing.T) {
	tests := []struct{ name, file, text, want string }{
		{"merged in", "a.yml", strings.Replace(merged, "leeway: 8, ", "", 1), "config.leeway: value should be between"},
		{"a login by reference", "a.yml", strings.Replace(referring, "route: login", "route: rest", 1), "routes.login: POST /login"},
		{"a service by reference", "a.yml", strings.Replace(referring, "service: identity, config", "service: other, config", 1), "routes.rest: GET /promotion"},
		{"identity without both plugins", "a.yml", strings.NewReplacer("earlybird-tag", "cors", "earlybird-auth", "cors").Replace(string(declarative)), "protected: GET /promotion"},
		{"JSON", "a.json", strings.Replace(asJSON, "5.0", "5.5", 1), "line 3: services.identity.routes.login.plugins.earlybird-tag.config.leeway: expected an integer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := Validate(tt.file, []byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

// TestValidateRefusesWhatKongCannotRead: neither file can be loaded at all.
func TestValidateRefusesWhatKongCannotRead(t *testing.T) {
	tests := []struct{ name, file, text, want string }{
		{"empty", "a.yml", "", "not a mapping"},
		{"a list", "a.yml", "- a", "not a mapping"},
		{"words", "a.yml", "just words", "not a mapping"},
		{"a bracket", "a.yml", "a: [", "yaml: line 1"},
		{"NUL", "a.yml", "\x00", "control characters"},
		{"no such anchor", "a.yml", "a: *b", "unknown anchor"},
		{"a second document that is none", "a.yml", string(declarative) + "---\ngarbage: [\n", "yaml: line"},
		{"merged with a word", "a.yml", "a: {<<: b}", "line 1: << takes a mapping"},
		{"a tag that does not fit", "a.yml", "a:\n  - !!int lots", "line 2: the value does not fit its tag !!int"},
		{"YAML in a JSON file", "a.json", "_format_version: \"3.0\"", "json: line 1"},
		{"a comma too many", "a.json", "{\n\"a\": [1,]}", "json: line 2"},
		{"a comment", "a.json", "{} # x", "json: line 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := Validate(tt.file, []byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

// TestPlain: YAML 1.1's scalars, as lyaml reads them.
func TestPlain(t *testing.T) {
	for text, want := range map[string]any{
		"": nil, "~": nil, "NULL": nil, "nULL": "nULL", "yes": true, "Off": false, "oFF": "oFF", "y": "y",
		"0": 0.0, "12": 12.0, "-1_000": -1000.0, "+5": 5.0, "010": 8.0, "089": 89.0, "0x1F": 31.0, "0b11": 3.0,
		"1.5": 1.5, "1e3": 1000.0, ".5": 0.5, "5.": 5.0, "-.5e-1": -0.05, "1:30": 90.0, "1:70": 130.0, "1:": "1:", "190:20:30": 685230.0, "1:30.5": 90.5,
		"1.2.3": "1.2.3", ".": ".", "e5": "e5", "-": "-", "_": "_", "infinity": "infinity", "nan": "nan", "https://a": "https://a", "10.0.0.1": "10.0.0.1", "2026-01-02": "2026-01-02",
	} {
		if got := plain(text); got != want {
			t.Errorf("%q is %v (%T), want %v", text, got, got, want)
		}
	}
}

// TestValidateEnds: aliases and merge keys may stand for more than there is
// memory for.
func TestValidateEnds(t *testing.T) {
	list, merge := "_comment: &a [x, x]\n", "_comment: &a {x: 1}\n"
	for i := 'b'; i < 'z'; i++ {
		list += fmt.Sprintf("%c: &%c [%[3]s, %[3]s, %[3]s, %[3]s]\n", i, i, "*"+string(i-1))
		merge += fmt.Sprintf("%c: &%c {<<: %[3]s, <<: [%[3]s, %[3]s, %[3]s]}\n", i, i, "*"+string(i-1))
	}
	for _, text := range []string{list + "services: [{name: s, host: h, tags: *y}]\n", merge, "a: &a {<<: *a, b: {<<: *a, <<: *a}}\n"} {
		if err := Validate("a.yml", []byte(text)); err != nil {
			t.Error(err)
		}
	}
}

func FuzzValidate(f *testing.F) {
	f.Add("a.yml", declarative)
	f.Add("a.json", []byte(asJSON))
	f.Add("a", []byte("services: [{name: a, routes: [{paths: [1]}], plugins: [{name: earlybird-auth, config: 7}]}]"))
	f.Add("a.yml", []byte(merged))
	f.Add("a.yml", []byte("a: &a [*a]"))
	f.Add("a.yml", []byte("a: &a {<<: *a, b: *a}\nservices: *a\nplugins: [{name: earlybird-auth, config: *a}]"))
	f.Fuzz(func(_ *testing.T, name string, data []byte) {
		_ = fmt.Sprint(Validate(name, data)) // must end, and not panic
	})
}
