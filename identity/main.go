// Command earlybird-identity is the identity service: it keeps accounts,
// checks passwords, issues access tokens, and places users in the promotion.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/earlybird/earlybird/identity/program"
)

func main() {
	ctx, stop := program.NotifyContext(context.Background())
	err := newApp(os.Stdout, os.Stderr).RunContext(ctx, os.Args)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "earlybird-identity:", err)
		os.Exit(exitStatus(err))
	}
}
