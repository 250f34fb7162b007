// Command earlybird-tag is the Kong plugin that tells a client with its login
// whether it was among the first of the campaign, in the Earlybird header.
package main

import (
	"os"

	"github.com/earlybird/earlybird/plugin/pluginserver"
)

func main() {
	os.Exit(pluginserver.Main(os.Args[1:], os.Stdout, os.Stderr, define))
}
