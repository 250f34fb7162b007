package command

import (
	"context"
	"embed"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
)

// completionScripts hold what a shell needs to know. Each asks this program
// for candidates, so they never lag behind its commands and flags. urfave/cli's
// own scripts do not: flags may stand before the command here.
//
//go:embed completion
var completionScripts embed.FS

func completionCommand() *cli.Command {
	shell := func(name, example string) *cli.Command {
		return leaf(name, "print the completion script for "+name, example, func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			script, err := completionScripts.ReadFile("completion/earlybird." + name)
			if err != nil {
				return err
			}
			_, err = c.App.Writer.Write(script)
			return err
		})
	}
	return &cli.Command{
		Name:        "completion",
		Usage:       "complete commands and flags in your shell",
		Description: "Example:\n\n   source <(earlybird completion bash)",
		Subcommands: []*cli.Command{
			shell("bash", "echo 'source <(earlybird completion bash)' >> ~/.bashrc"),
			shell("zsh", "echo 'source <(earlybird completion zsh)' >> ~/.zshrc"),
			shell("fish", "earlybird completion fish > ~/.config/fish/completions/earlybird.fish"),
		},
	}
}

// completeWord is what the scripts call: earlybird __complete WORD... CURRENT.
const completeWord = "__complete"

// completeFiles tells the script to offer files.
const completeFiles = ":files"

// candidate is a word that may stand where the cursor is.
type candidate struct{ word, what string }

// complete writes what may stand in place of the last word, one per line, with
// a tab and an explanation where there is one.
func complete(ctx context.Context, app *cli.App, words []string, w io.Writer) {
	if len(words) == 0 {
		words = []string{""}
	}
	before, current := words[:len(words)-1], words[len(words)-1]
	for _, c := range candidates(ctx, app, before, current) {
		if c.what == "" {
			say(w, "%s\n", c.word)
			continue
		}
		say(w, "%s\t%s\n", c.word, c.what)
	}
}

func candidates(ctx context.Context, app *cli.App, before []string, current string) []candidate {
	flag, value, prefix := valueOf(app, before, current)
	l := parse(app, rejoined(before))
	commands, flags := app.Commands, app.Flags
	for _, c := range l.path {
		commands, flags = c.Subcommands, c.Flags
	}
	switch {
	case flag != "" && strings.TrimLeft(flag, "-") == "campaign":
		return matching(fromStore(ctx, app, l, campaignNumbers), value, prefix)
	case flag != "":
		return matching(flagValues(flag, flags), value, prefix)
	case isFlag(current) || current == "-":
		return matching(flagNames(flags), current, "")
	case len(commands) > 0 && len(l.args) == 0:
		return matching(commandNames(commands), current, "")
	case len(l.path) > 0 && l.path[len(l.path)-1].ArgsUsage == "FILE":
		return []candidate{{word: completeFiles}}
	case len(l.path) > 0 && l.path[len(l.path)-1].ArgsUsage == "USERNAME" && len(l.args) == 0:
		return fromStore(ctx, app, l, usernames(current))
	default:
		return nil
	}
}

// rejoined puts together what bash has divided at an equals sign.
func rejoined(words []string) []string {
	var out []string
	for i := 0; i < len(words); i++ {
		if words[i] == "=" && len(out) > 0 && isFlag(out[len(out)-1]) && i+1 < len(words) {
			out[len(out)-1] += "=" + words[i+1]
			i++
			continue
		}
		out = append(out, words[i])
	}
	return out
}

// valueOf tells whether the current word is a flag's value. It may follow as a
// word of its own or after an equals sign, at which bash divides words.
func valueOf(app *cli.App, before []string, current string) (flag, value, prefix string) {
	valued := valuedFlags(app.Commands, map[string]bool{})
	if n := len(before); n > 0 {
		last := before[n-1]
		switch {
		case current == "=" && isFlag(last):
			return last, "", ""
		case last == "=" && n > 1 && isFlag(before[n-2]):
			return before[n-2], current, ""
		case isFlag(last) && takesNext(last, valued):
			return last, current, ""
		}
	}
	if name, rest, found := strings.Cut(current, "="); found && isFlag(name) {
		return name, rest, name + "="
	}
	return "", "", ""
}

func commandNames(commands []*cli.Command) []candidate {
	var all []candidate
	for _, c := range commands {
		all = append(all, candidate{c.Name, c.Usage})
	}
	return all
}

func flagNames(flags []cli.Flag) []candidate {
	all := []candidate{{"--help", "show help"}}
	for _, f := range flags {
		usage := ""
		if described, ok := f.(cli.DocGenerationFlag); ok {
			usage = strings.ReplaceAll(described.GetUsage(), "`", "")
		}
		all = append(all, candidate{"--" + f.Names()[0], usage})
	}
	return all
}

// flagValues are the values of a flag that can be listed.
func flagValues(name string, flags []cli.Flag) []candidate {
	name = strings.TrimLeft(name, "-")
	at := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	switch {
	case at < 0:
		return nil
	case name == "output" || name == "o":
		return formatNames(flags[at])
	case strings.HasSuffix(name, "-file") || name == "html" || name == "accounts":
		return []candidate{{word: completeFiles}}
	default:
		return nil
	}
}

// formatNames are the formats that a flag's help names.
func formatNames(flag cli.Flag) []candidate {
	described, ok := flag.(cli.DocGenerationFlag)
	if !ok {
		return nil
	}
	var all []candidate
	for _, f := range output.Formats() {
		if strings.Contains(described.GetUsage(), string(f)) {
			all = append(all, candidate{word: string(f)})
		}
	}
	return all
}

func matching(all []candidate, start, prefix string) []candidate {
	var found []candidate
	for _, c := range all {
		switch {
		case c.word == completeFiles && prefix != "": // the shell completes files for whole words only
		case c.word == completeFiles:
			found = append(found, c)
		case strings.HasPrefix(c.word, start):
			found = append(found, candidate{prefix + c.word, c.what})
		}
	}
	return found
}
