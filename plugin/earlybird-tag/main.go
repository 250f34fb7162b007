// Command earlybird-tag is the Kong plugin that adds the Earlybird header to the
// response of a login: it says whether the user is among the first of the campaign.
package main

import (
	"os"

	"github.com/earlybird/earlybird/plugin/pluginserver"
)

func main() {
	os.Exit(pluginserver.Main(os.Args[1:], os.Stdout, os.Stderr, define))
}
