package deploy_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/earlybird/earlybird/"

// deps lists what a package links, itself included: paths of this module
// without its name, all others whole.
func deps(t *testing.T, pkg string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", pkg)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v", pkg, err)
	}
	var paths []string
	for path := range strings.Lines(string(out)) {
		paths = append(paths, strings.TrimPrefix(strings.TrimSpace(path), module))
	}
	return paths
}

// TestImports holds the arrows of ARCHITECTURE.md: what each part must never
// link. Checked by importing mongostore from the plugin, miniredis from
// campaign, and go-pdk's server from the plugin server: each failed here.
func TestImports(t *testing.T) {
	const (
		driver    = "go.mongodb.org/"
		goPDK     = "github.com/Kong/go-pdk"
		pdkServer = "github.com/Kong/go-pdk/server"
		pdkProto  = "github.com/Kong/go-pdk/server/kong_plugin_protocol"
		redis     = "github.com/redis/go-redis"
		embedded  = "github.com/FerretDB/"
		miniredis = "github.com/alicebob/miniredis"
	)
	everywhere := []string{embedded, miniredis, "testing", pdkServer, "deploy"}
	plugins := append(everywhere, driver,
		"identity/mongostore", "identity/httpapi", "identity/password", "identity/account", "identity/keyring", "admin")
	cases := []struct {
		pkg   string
		never []string
	}{
		{"./plugin/earlybird-auth", plugins},
		{"./plugin/earlybird-tag", plugins},
		{"./identity", append(everywhere, "plugin/", "admin", "kong", goPDK)},
		{"./admin", append(everywhere, "plugin/pluginserver", "plugin/earlybird-auth", "plugin/earlybird-tag", "identity/httpapi", goPDK)},
		{"./identity/account", []string{driver, redis, "net/http", "identity/mongostore", "identity/campaign"}},
		{"./identity/token", []string{driver, redis, goPDK, "identity/mongostore", "identity/keyring", "identity/account", "identity/campaign"}},
		{"./identity/campaign", []string{driver, goPDK, "identity/mongostore", "identity/account"}},
		{"./identity/revocation", []string{driver, goPDK, "identity/mongostore", "identity/account", "identity/campaign", "plugin/"}},
		{"./identity/httpapi", []string{driver, "identity/mongostore"}},
		{"./identity/mongostore", []string{"identity/httpapi", goPDK}},
		{"./plugin/earlybird", []string{driver, redis, goPDK, "github.com/go-jose", "net/http", "identity", "admin", "kong", "deploy"}}, // for services of other people
	}
	for _, c := range cases {
		t.Run(c.pkg, func(t *testing.T) {
			linked := deps(t, c.pkg)
			for _, bad := range c.never {
				i := slices.IndexFunc(linked, func(path string) bool { return within(path, bad) && !within(path, pdkProto) })
				if i >= 0 {
					t.Errorf("%s links %s, which it must not", c.pkg, linked[i])
				}
			}
		})
	}
}

// TestSignalsAreTheSame: a program that leaves this package out dies with the
// reader of its log, and on SIGHUP without draining.
func TestSignalsAreTheSame(t *testing.T) {
	for _, pkg := range []string{"./identity", "./admin", "./plugin/earlybird-auth", "./plugin/earlybird-tag"} {
		if !slices.Contains(deps(t, pkg), "identity/program") {
			t.Errorf("%s does not use identity/program", pkg)
		}
	}
	if !strings.Contains(read(t, "deploy/local/main.go"), "program.NotifyContext(") { // a module of its own
		t.Error("deploy/local does not use identity/program")
	}
}

// within reports whether path is root or lies below it.
func within(path, root string) bool {
	root = strings.TrimSuffix(root, "/")
	return path == root || strings.HasPrefix(path, root+"/")
}
