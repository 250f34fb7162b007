package gateway_test

import (
	"strings"
	"testing"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/deploy/local/gateway"
	"github.com/earlybird/earlybird/kong"
	eb "github.com/earlybird/earlybird/plugin/settings"
)

// TestFaultsAreListed: all faults in the plugins' config at once, in Kong's
// words.
func TestFaultsAreListed(t *testing.T) {
	guard := &fakePlugin{name: "guard", phase: "access", event: func(*kongCalls) {}}
	file := `
_format_version: "3.0"
upstreams: [{name: u, targets: [{target: "h:1"}]}]
services:
  - name: svc
    host: u
    routes:
      - {name: a, paths: ["~/a("], strip_path: false}
      - {name: b, paths: ["/b"]}
      - {name: c, paths: ["~/c"], strip_path: false, plugins: [{name: guard, config: {level: 61, extra: 1}}]}
      - {name: d, paths: ["~/d"], strip_path: false, plugins: [{name: pre-function, config: {access: x = 1}}]}
`
	_, err := gateway.New(gateway.Config{Declarative: []byte(file), External: map[string]gateway.External{"guard": guard.serve(t)}})
	if err == nil {
		t.Fatal("a wrong file is accepted")
	}
	for _, want := range []string{
		"route 'a' in 'paths'", "route 'b' in 'paths'", "route 'b': the stand-in wants strip_path: false",
		"route 'c' plugin 'guard' in 'level': value should be between 0 and 60", "in 'extra': unknown field", "in 'word': required field missing",
		"route 'd' plugin 'pre-function' in 'config': the stand-in cannot take it: json: cannot unmarshal string into Go struct field .access",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

// TestWhatTheStandInDoesNotKnowIsRefused: nothing of a file is left out in
// silence.
func TestWhatTheStandInDoesNotKnowIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"an unknown field":            {"services: [{name: a, hostt: b}]", "field hostt not found"},
		"a field of Kong's":           {"upstreams: [{name: a, slots: 100}]", "field slots not found"},
		"a wrong type":                {"services: {}", "cannot unmarshal"},
		"not YAML":                    {"{", "read kong.yml"},
		"a service over https":        {"services: [{name: a, host: b, protocol: https}]", "the stand-in speaks http to services"},
		"a service without a host":    {"services: [{name: a}]", "service 'a' in 'host'"},
		"a merge key that Kong takes": {"upstreams: [&a {name: a}, {<<: *a, slots: 1}]", "field slots not found"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := gateway.New(gateway.Config{Declarative: []byte(c.file)})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %s", err, c.want)
			}
		})
	}
}

// The project's own file has nothing that the stand-in leaves out, apart from
// what is known.
func TestOwnKongYML(t *testing.T) {
	file, err := kong.Render(kong.Options{IdentityURL: "http://127.0.0.1:8081"})
	if err != nil {
		t.Fatal(err)
	}
	external := map[string]gateway.External{}
	for name, schema := range eb.Schemas() {
		external[name] = gateway.External{Info: kongwire.PluginInfo{Name: name, Phases: []string{"access"}, Schema: schema}}
	}
	g, err := gateway.New(gateway.Config{Declarative: file, External: external})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(g.NotEmulated(), "; "); got != "plugin prometheus" {
		t.Errorf("not emulated: %s; want prometheus alone", got)
	}
}
