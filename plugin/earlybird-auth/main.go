// Command earlybird-auth is the Kong plugin that lets a request pass only with
// a valid access token, and tells the services behind Kong whose it is in the
// Earlybird header.
package main

import (
	"os"

	"github.com/earlybird/earlybird/plugin/pluginserver"
)

func main() {
	os.Exit(pluginserver.Main(os.Args[1:], os.Stdout, os.Stderr, define))
}
