package command

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

func yesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do it without asking"}
}

// errDeclined reports that the person said no.
var errDeclined = errors.New("not confirmed, nothing was changed")

// confirm says what will be done and asks, unless --yes. It refuses where
// nobody can answer.
func confirm(c *cli.Context, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	say(c.App.ErrWriter, "%s\n", what)
	if c.Bool("yes") {
		return nil
	}
	if !answerable(c.App.Reader) {
		return withHint(usage("nobody can be asked here: the input is not a terminal"), "add --yes to do it without asking")
	}
	say(c.App.ErrWriter, "Go on? [y/N] ")
	answer, err := bufio.NewReader(c.App.Reader).ReadString('\n')
	if err != nil && (!errors.Is(err, io.EOF) || answer == "") {
		say(c.App.ErrWriter, "\n")
		return withHint(usage("there was no answer, nothing was changed"), "add --yes to do it without asking")
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	default:
		return errDeclined
	}
}

// answerable reports whether somebody may be typing: a terminal, or what a test
// put there. A null device is one too, and gives no answer.
func answerable(in io.Reader) bool {
	file, ok := in.(*os.File)
	if !ok {
		return in != nil
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
