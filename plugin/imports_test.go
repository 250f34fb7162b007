// Package plugin_test holds what is true of both plugins' executables.
package plugin_test

import (
	"os/exec"
	"strings"
	"testing"
)

// A plugin at the edge must not bring along what reads passwords or databases,
// nor go-pdk's own server: only its protocol.
func TestWhatThePluginsLink(t *testing.T) {
	const module = "github.com/earlybird/earlybird/"
	forbidden := []string{
		module + "identity/mongostore", module + "identity/httpapi", module + "identity/password",
		module + "identity/keyring", module + "identity/account", "go.mongodb.org/",
		"github.com/Kong/go-pdk/server",
	}
	const allowed = "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	for _, command := range []string{"earlybird-auth", "earlybird-tag"} {
		out, err := exec.Command("go", "list", "-deps", "./"+command).Output()
		if err != nil {
			t.Fatal(err)
		}
		deps := strings.Fields(string(out))
		if len(deps) < 100 {
			t.Fatalf("%s: only %d packages", command, len(deps))
		}
		for _, dep := range deps {
			for _, prefix := range forbidden {
				if strings.HasPrefix(dep, prefix) && dep != allowed {
					t.Errorf("%s links %s", command, dep)
				}
			}
		}
	}
}
