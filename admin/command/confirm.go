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

var (
	// errDeclined reports that the person said no.
	errDeclined = errors.New("not confirmed, nothing was changed")
	// errInterrupted reports Ctrl-C; what is said with it says what was done.
	errInterrupted = errors.New("interrupted")
)

// confirm says what will be done and asks, unless --yes. It refuses where no
// person can answer. Ctrl-C ends it at once.
func confirm(c *cli.Context, format string, args ...any) error {
	say(c.App.ErrWriter, "%s\n", fmt.Sprintf(format, args...))
	if c.Bool("yes") {
		return nil
	}
	if !answerable(c.App.Reader) {
		return withHint(usage("cannot ask here: the input is not a terminal"), "add --yes to do it without asking")
	}
	say(c.App.ErrWriter, "Go on? [y/N] ")
	type reply struct {
		line string
		err  error
	}
	replied := make(chan reply, 1)
	go func() { // a read from a terminal cannot be interrupted: the process ends without it
		line, err := bufio.NewReader(c.App.Reader).ReadString('\n')
		replied <- reply{line, err}
	}()
	var r reply
	select {
	case <-c.Done():
	case r = <-replied:
	}
	if c.Err() != nil {
		say(c.App.ErrWriter, "\n")
		return fmt.Errorf("%w: nothing was changed", errInterrupted)
	}
	if r.err != nil && (!errors.Is(r.err, io.EOF) || r.line == "") {
		say(c.App.ErrWriter, "\n")
		return withHint(usage("there was no answer, nothing was changed"), "add --yes to do it without asking")
	}
	switch strings.ToLower(strings.TrimSpace(r.line)) {
	case "y", "yes":
		return nil
	default:
		return errDeclined
	}
}

// answerable reports whether the input can answer a question: a terminal, or a
// test's reader. A null device counts as one, and gives no answer.
func answerable(in io.Reader) bool {
	file, ok := in.(*os.File)
	if !ok {
		return in != nil
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
