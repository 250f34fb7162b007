package gateway_test

import (
	"strings"
	"testing"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/deploy/local/gateway"
	"github.com/earlybird/earlybird/kong"
	eb "github.com/earlybird/earlybird/plugin/settings"
)

// The stand-in refuses what `earlybird kong validate` refuses, in its words:
// the tests of package kong have every kind of fault.
func TestFaultsAreListed(t *testing.T) {
	guard := &fakePlugin{name: "guard", phase: "access", event: func(*kongCalls) {}}
	file := `
_format_version: "3.0"
services:
  - name: svc
    host: h
    retries: lots
    routes:
      - {name: a, paths: ["~/a("]}
      - {name: b, paths: ["b"]}
      - {name: c, paths: ["/c"], plugins: [{name: guard, config: {level: 61, extra: 1}}]}
      - {name: d, paths: ["/d"], plugins: [{name: pre-function, config: {access: x = 1}}]}
`
	_, err := gateway.New(gateway.Config{Declarative: []byte(file), External: map[string]gateway.External{"guard": guard.serve(t)}})
	if err == nil {
		t.Fatal("a wrong file is accepted")
	}
	for _, want := range []string{
		"line 6: services.svc.retries: expected an integer", "routes.a.paths[0]: ", "routes.b.paths[0]: ",
		"plugins.guard.config.level: value should be between 0 and 60", "config.extra: unknown field", "config.word: required field missing",
		"pre-function.config.access: expected an array",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

func TestWhatIsNoFileOfKongIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"an unknown field":      {"_format_version: \"3.0\"\nservices: [{name: a, hostt: b}]", "services.a.hostt: unknown field"},
		"a wrong type":          {"_format_version: \"3.0\"\nservices: {}", "services: expected a list"},
		"another version":       {"_format_version: \"1.1\"", "_format_version"},
		"not YAML":              {"{", "read kong.yml"},
		"a second document":     {"_format_version: \"3.0\"\n---\na: b", "second document"},
		"a plugin not there":    {"_format_version: \"3.0\"\nplugins: [{name: guard}]", "Kong has no plugin of this name"},
		"unknown here alone":    {"_format_version: \"3.0\"\nupstreams: [{name: a, slots: 100}]", "slots"},
		"a service over https":  {"_format_version: \"3.0\"\nservices: [{name: a, host: b, protocol: https}]", "the stand-in speaks http to services"},
		"a service without one": {"_format_version: \"3.0\"\nservices: [{name: a}]", "services.a.host: required field missing"},
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
