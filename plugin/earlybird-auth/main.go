// Command earlybird-auth is the Kong plugin that lets only requests with a valid
// access token pass. It sets the Earlybird header, which names the user and the
// grant to the services behind Kong.
package main

import (
	"os"

	"github.com/earlybird/earlybird/plugin/pluginserver"
)

func main() {
	os.Exit(pluginserver.Main(os.Args[1:], os.Stdout, os.Stderr, define))
}
