// Package command is the earlybird command line: what can be typed, what it
// does, and how it ends. It exits with 0 when the work is done, 1 when it
// failed and 2 when what was typed makes no sense.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/program"
)

// Streams are where a command reads answers and writes what it has to say:
// results to Out, everything else to Err.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run does what argv says, the program's name first, and returns the exit
// status.
func Run(ctx context.Context, argv []string, s Streams) int {
	app := newApp(s)
	if len(argv) == 0 {
		argv = []string{app.Name}
	}
	if len(argv) > 1 && argv[1] == completeWord {
		complete(app, argv[2:], s.Out)
		return exitDone
	}
	l := parse(app, argv[1:])
	if err := l.check(app); err != nil {
		return report(s.Err, err)
	}
	if l.help() {
		l.flags, l.args = []string{"--help"}, nil
	}
	if len(l.path) == 0 { // --help or --version
		return report(s.Err, app.RunContext(ctx, append([]string{app.Name}, l.flags...)))
	}
	return report(s.Err, app.RunContext(ctx, l.argv(app.Name)))
}

// check refuses unknown commands, bare groups and bare flags.
func (l line) check(app *cli.App) error {
	commands, name := app.Commands, app.Name
	for _, c := range l.path {
		commands, name = c.Subcommands, name+" "+c.Name
	}
	if l.help() {
		return nil
	}
	if l.bare != "" {
		return withHint(usage("%s needs a value", l.bare), "%s --help says which", name)
	}
	if len(commands) == 0 {
		return nil
	}
	version := len(l.path) == 0 && len(l.flags) == 1 && strings.TrimLeft(l.flags[0], "-") == "version"
	switch {
	case len(l.args) > 0:
		err := usage("%q is not a command", strings.TrimPrefix(name+" "+l.args[0], app.Name+" "))
		return withHint(err, "%s knows: %s", name, strings.Join(names(commands), ", "))
	case version:
		return nil
	default:
		err := usage("%q needs a command", name)
		return withHint(err, "one of: %s; %s --help says more", strings.Join(names(commands), ", "), name)
	}
}

func names(commands []*cli.Command) []string {
	var all []string
	for _, c := range commands {
		all = append(all, c.Name)
	}
	return all
}

// newApp returns everything that can be typed.
func newApp(s Streams) *cli.App {
	app := &cli.App{
		Name:            "earlybird",
		Usage:           "run Earlybird's campaigns and its edge",
		Description:     "Flags may stand before or after arguments. Example:\n\n   earlybird campaign status --output json",
		Version:         program.Version(),
		Reader:          s.In,
		Writer:          s.Out,
		ErrWriter:       s.Err,
		HideHelpCommand: true,
		Commands:        []*cli.Command{campaignCommand(), userCommand(), keyCommand(), kongCommand(), doctorCommand(), completionCommand()},
		ExitErrHandler:  func(*cli.Context, error) {}, // Run decides
	}
	cli.VersionFlag = &cli.BoolFlag{Name: "version", Usage: "print the version"}
	prepare(app.Commands)
	return app
}

// prepare gives every command what all of them have.
func prepare(commands []*cli.Command) {
	for _, c := range commands {
		c.HideHelpCommand = true
		c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return flagError(c, err) }
		prepare(c.Subcommands)
	}
}

// flagError is what the flag parser said, with what to do about it.
func flagError(c *cli.Command, err error) error {
	message := strings.NewReplacer("flag provided but not defined: -", "unknown flag --", " for flag -", " for --").Replace(err.Error())
	return withHint(usage("%s", message), `"earlybird %s --help" lists the flags`, c.HelpName[len("earlybird "):])
}

// leaf is a command that does something.
func leaf(name, what, example string, run func(c *cli.Context) error, flags ...cli.Flag) *cli.Command {
	return &cli.Command{
		Name:        name,
		Usage:       what,
		Description: "Example:\n\n   " + example,
		Flags:       flags,
		Action:      run,
	}
}

// outputFlag chooses the format of results.
func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: string(output.Table), Usage: "`FORMAT` of the result: table, json or csv"}
}

// format reads the output flag.
func format(c *cli.Context) (output.Format, error) {
	for _, f := range output.Formats() {
		if string(f) == c.String("output") {
			return f, nil
		}
	}
	return "", usage("--output: %q is not a format; use table, json or csv", c.String("output"))
}

// noArguments refuses what follows a command that takes none.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return usage("%q: this command takes no arguments", c.Args().First())
	}
	return nil
}

// required lists the flags that were not given.
func required(c *cli.Context, flags ...string) error {
	var errs []error
	for _, f := range flags {
		if !c.IsSet(f) {
			errs = append(errs, fmt.Errorf("--%s is required", f))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return withHint(&usageError{errors.Join(errs...)}, `"%s --help" has an example`, c.Command.HelpName)
}
