// Command earlybird is the operators' command line: it starts and watches
// campaigns, prepares Kong's configuration, and diagnoses faults.
package main

import (
	"context"
	"os"

	"github.com/earlybird/earlybird/admin/command"
	"github.com/earlybird/earlybird/identity/program"
)

func main() {
	ctx, stop := program.NotifyContext(context.Background())
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program whatever it is about
	status := command.Run(ctx, os.Args, command.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(status)
}
