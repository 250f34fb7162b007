package command

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// line is a command line, taken apart.
type line struct {
	path  []*cli.Command // the commands that were named, outermost first
	flags []string       // with their values
	named []string       // the flags alone, as typed
	args  []string       // everything else
	bare  string         // a flag at the end that lacks its value
}

// parse takes a command line apart without the program's name. Flags may stand
// anywhere, before the command too; "--" ends them. urfave/cli alone stops
// looking for flags at the first argument.
func parse(app *cli.App, argv []string) line {
	var l line
	valued := valuedFlags(app.Commands, map[string]bool{})
	commands := app.Commands
	for i := 0; i < len(argv); i++ {
		word := argv[i]
		if word == "--" {
			l.args = append(l.args, argv[i+1:]...)
			break
		}
		if isFlag(word) {
			l.flags, l.named = append(l.flags, word), append(l.named, word)
			switch {
			case !takesNext(word, valued):
			case i+1 == len(argv):
				l.bare = word
			default:
				i++
				l.flags = append(l.flags, argv[i])
			}
			continue
		}
		next := find(commands, word)
		if next == nil || len(l.args) > 0 {
			l.args = append(l.args, word)
			continue
		}
		l.path = append(l.path, next)
		commands = next.Subcommands
	}
	return l
}

// argv is the line in the order that urfave/cli understands.
func (l line) argv(program string) []string {
	out := []string{program}
	for _, c := range l.path {
		out = append(out, c.Name)
	}
	return append(append(append(out, l.flags...), "--"), l.args...)
}

// help reports whether the line asks for help.
func (l line) help() bool {
	return slices.ContainsFunc(l.flags, func(f string) bool {
		name := strings.TrimLeft(f, "-")
		return isFlag(f) && (name == "help" || name == "h")
	})
}

func isFlag(word string) bool { return len(word) > 1 && word[0] == '-' }

// takesNext reports whether the next word is the flag's value.
func takesNext(word string, valued map[string]bool) bool {
	return !strings.Contains(word, "=") && valued[strings.TrimLeft(word, "-")]
}

// valuedFlags collects the names of all flags that take a value. A name means
// the same in every command.
func valuedFlags(commands []*cli.Command, names map[string]bool) map[string]bool {
	for _, c := range commands {
		for _, f := range c.Flags {
			if _, isBool := f.(*cli.BoolFlag); isBool {
				continue
			}
			for _, name := range f.Names() {
				names[name] = true
			}
		}
		valuedFlags(c.Subcommands, names)
	}
	return names
}

func find(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}
