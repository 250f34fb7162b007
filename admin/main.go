// Command earlybird is the command line for those who run Earlybird: it starts
// and watches campaigns, prepares Kong's configuration, and finds out what is
// wrong.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/earlybird/earlybird/admin/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program whatever it is about
	status := command.Run(ctx, os.Args, command.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(status)
}
