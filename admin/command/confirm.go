package command

import (
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
	answer, err := ask(c, "Go on? [y/N] ")
	if err != nil {
		return err
	}
	switch strings.ToLower(answer) {
	case "y", "yes":
		return nil
	default:
		return errDeclined
	}
}

// confirmName asks for a name to be typed, after confirm, for what cannot be undone;
// unless --yes.
func confirmName(c *cli.Context, name string) error {
	if c.Bool("yes") {
		return nil
	}
	answer, err := ask(c, "It cannot be undone. Type the username to do it: ")
	if err == nil && answer != name {
		err = errDeclined
	}
	return err
}

// ask asks the person and returns the line that was typed.
func ask(c *cli.Context, question string) (string, error) {
	if !answerable(c.App.Reader) {
		return "", withHint(usage("cannot ask here: the input is not a terminal"), "add --yes to do it without asking")
	}
	say(c.App.ErrWriter, "%s", question)
	type reply struct {
		line string
		err  error
	}
	replied := make(chan reply, 1)
	go func() { // a read from a terminal cannot be interrupted: the process ends without it
		line, err := readLine(c.App.Reader)
		replied <- reply{line, err}
	}()
	var r reply
	select {
	case <-c.Done():
	case r = <-replied:
	}
	if c.Err() != nil {
		say(c.App.ErrWriter, "\n")
		return "", fmt.Errorf("%w: nothing was changed", errInterrupted)
	}
	if r.err != nil && (!errors.Is(r.err, io.EOF) || r.line == "") {
		say(c.App.ErrWriter, "\n")
		return "", withHint(usage("there was no answer, nothing was changed"), "add --yes to do it without asking")
	}
	return strings.TrimSpace(r.line), nil
}

// readLine reads to the end of a line and not beyond: another question may follow.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); ; {
		n, err := r.Read(one)
		if n == 1 && one[0] == '\n' {
			return string(line), nil
		}
		line = append(line, one[:n]...)
		if err != nil {
			return string(line), err
		}
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
