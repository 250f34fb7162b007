// Command mongodb-server is the embedded MongoDB by itself, for tests: unlike
// earlybird-local it is linked with nothing else of the project, so that a
// change elsewhere does not rebuild it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/deploy/local/mongodb"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	command := mongodb.Command()
	app := &cli.App{Name: "mongodb-server", Usage: command.Usage, Flags: command.Flags, Action: command.Action, Writer: os.Stdout}
	err := app.RunContext(ctx, os.Args)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mongodb-server:", err)
		os.Exit(1)
	}
}
