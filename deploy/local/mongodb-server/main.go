// Command mongodb-server is the embedded MongoDB on its own, for tests. It links
// nothing else of the project, so a change elsewhere does not rebuild it.
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
