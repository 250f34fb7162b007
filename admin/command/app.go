// Package command is the earlybird command line: its commands, flags and exit
// statuses. The status is 0 when the command succeeded, 1 when it failed, 2 for a
// usage error and 130 when it was interrupted.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
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
		complete(ctx, app, argv[2:], s.Out)
		return exitDone
	}
	l := parse(app, spelledOut(argv[1:]))
	if err := l.check(app); err != nil {
		return report(s.Err, err, false)
	}
	if l.help() {
		l.flags, l.args = []string{"--help"}, nil
	}
	if len(l.path) == 0 { // --help or --version
		return report(s.Err, app.RunContext(ctx, append([]string{app.Name}, l.flags...)), false)
	}
	return report(s.Err, app.RunContext(ctx, l.argv(app.Name)), ctx.Err() != nil)
}

// spelledOut turns the words "help" and "version" into the flags, and nothing at
// all into a call for help.
func spelledOut(words []string) []string {
	switch {
	case len(words) == 0:
		return []string{"--help"}
	case words[0] == "help":
		return append(slices.Clone(words[1:]), "--help")
	case len(words) == 1 && words[0] == "version":
		return []string{"--version"}
	default:
		return words
	}
}

// check refuses unknown commands, bare groups and bare flags.
func (l line) check(app *cli.App) error {
	commands, name := app.Commands, app.Name
	for _, c := range l.path {
		commands, name = c.Subcommands, name+" "+c.Name
	}
	if len(commands) > 0 && len(l.args) > 0 { // also before help: it would be of something else
		err := usage("%q is not a command", strings.TrimPrefix(name+" "+l.args[0], app.Name+" "))
		return withHint(err, "%s %s knows: %s", cli.SuggestCommand(commands, l.args[0]), name, strings.Join(names(commands), ", "))
	}
	if l.help() {
		return nil
	}
	if err := l.known(app, name); err != nil {
		return err
	}
	if l.bare != "" {
		return withHint(usage("%s needs a value", l.bare), "%s --help says which", name)
	}
	if len(commands) == 0 {
		return nil
	}
	version := len(l.path) == 0 && len(l.flags) == 1 && strings.TrimLeft(l.flags[0], "-") == "version"
	if version {
		return nil
	}
	err := usage("%q needs a command", name)
	return withHint(err, "one of: %s; %s --help says more", strings.Join(names(commands), ", "), name)
}

// known refuses flags that the command does not have, as they were typed.
func (l line) known(app *cli.App, name string) error {
	flags := app.Flags
	if len(l.path) > 0 {
		flags = l.path[len(l.path)-1].Flags
	}
	has := func(flag string) bool {
		return flag == "version" && len(l.path) == 0 ||
			slices.ContainsFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), flag) })
	}
	for _, word := range l.named {
		typed, _, _ := strings.Cut(word, "=")
		flag := strings.TrimLeft(typed, "-")
		if has(flag) || len(l.path) > 0 && len(l.path[len(l.path)-1].Subcommands) > 0 { // of a bare group that is said instead
			continue
		}
		hint := fmt.Sprintf(`"%s --help" lists the flags`, name)
		switch {
		case len(flag) > 1 && !strings.HasPrefix(typed, "--") && has(flag[:1]):
			hint = fmt.Sprintf("a short flag stands alone: -%s %s", flag[:1], flag[1:])
		case len(flag) > 1 && len(flags) > 0:
			hint = fmt.Sprintf("did you mean %s? %s", cli.SuggestFlag(flags, flag, false), hint)
		}
		return withHint(usage("unknown flag %s", typed), "%s", hint)
	}
	return nil
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
		Description:     "Flags may stand before or after arguments. Example:\n\n   earlybird campaign status --output json\n\n" + storeHelp(),
		Version:         program.Version(),
		Reader:          s.In,
		Writer:          s.Out,
		ErrWriter:       s.Err,
		HideHelpCommand: true,
		Commands:        []*cli.Command{campaignCommand(), userCommand(), enrolCommand(), actionsCommand(), keyCommand(), redisCommand(), rehearseCommand(), kongCommand(), doctorCommand(), completionCommand()},
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

// flagInMessage is how the flag parser names a flag, however it was typed.
var flagInMessage = regexp.MustCompile(` for (?:flag )?-([\w-]+)`)

// flagError is what the flag parser said, with what to do about it.
func flagError(c *cli.Command, err error) error {
	message := flagInMessage.ReplaceAllStringFunc(err.Error(), func(found string) string {
		name := flagInMessage.FindStringSubmatch(found)[1]
		return " for " + strings.Repeat("-", min(2, len(name))) + name
	})
	return withHint(usage("%s", message), `"earlybird %s --help" lists the flags`, c.HelpName[len("earlybird "):])
}

// leaf is a command that does something.
func leaf(name, what, example string, run func(c *cli.Context) error, flags ...cli.Flag) *cli.Command {
	description := "Example:\n\n   " + example
	if slices.ContainsFunc(flags, func(f cli.Flag) bool { return f.Names()[0] == "mongo-url" }) {
		description += "\n\n\"earlybird --help\" lists the flags that say where MongoDB and Redis are."
	}
	return &cli.Command{
		Name:        name,
		Usage:       what,
		Description: description,
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
