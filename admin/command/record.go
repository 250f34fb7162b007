package command

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/identity/mongostore"
)

// recorded does something on record: an action in MongoDB before it, and
// another when it has ended. What cannot be recorded is not done. do may add to
// the action what it did; its context does not end with Ctrl-C, since what was
// begun is finished.
func recorded(c *cli.Context, s *stores, a mongostore.Action, do func(context.Context, *mongostore.Action) error) error {
	ctx := context.WithoutCancel(c.Context)
	if c.Err() != nil {
		return fmt.Errorf("%w: nothing was changed", errInterrupted)
	}
	a.By, a.At, a.Result = s.by, now(), mongostore.ResultBegun
	if err := s.mongo.RecordAction(ctx, a); err != nil {
		return fmt.Errorf("nothing was changed, for it cannot be recorded: %w", err)
	}
	a.Result = mongostore.ResultDone
	err := do(ctx, &a)
	a.At = now()
	if err != nil && a.Result == mongostore.ResultDone {
		a.Result, a.Detail = mongostore.ResultFailed, err.Error()
	}
	if recordErr := s.mongo.RecordAction(ctx, a); recordErr != nil {
		say(c.App.ErrWriter, "how %q ended (%s) was not recorded: %s\n", a.Name, a.Result, brief(recordErr))
	}
	if err == nil && c.Err() != nil {
		return fmt.Errorf("%w: %q was done before that, whole", errInterrupted, a.Name)
	}
	return err
}

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

func asFlag() cli.Flag {
	return &cli.StringFlag{Name: "as", Usage: "`WHO` makes the change, for the record (default: this account and machine)", EnvVars: []string{"EARLYBIRD_ADMIN"}}
}

// maxWho is the longest name, in characters, that is put on record.
const maxWho = 100

// who names who is at work: --as, EARLYBIRD_ADMIN, or user@host.
func who(c *cli.Context) (string, error) {
	name := c.String("as")
	switch {
	case !c.IsSet("as"):
		return operator(), nil
	case strings.TrimSpace(name) == "":
		return "", usage("--as: is empty: say who you are, such as alice@bank.example")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || utf8.RuneCountInString(name) > maxWho:
		return "", usage("--as: must be at most %d characters, without control characters", maxWho)
	}
	return name, nil
}

// operator names the account and the machine: user@host.
func operator() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}
