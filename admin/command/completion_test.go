package command

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/deploy/testserver"
)

func completed(words ...string) []string {
	var out bytes.Buffer
	Run(context.Background(), append([]string{"earlybird", completeWord}, words...), Streams{Out: &out})
	var found []string
	for line := range strings.Lines(out.String()) {
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		found = append(found, word)
	}
	return found
}

func TestComplete(t *testing.T) {
	tests := []struct {
		name  string
		words []string
		want  []string
	}{
		{"a command", []string{"camp"}, []string{"campaign"}},
		{"a subcommand", []string{"campaign", "st"}, []string{"start", "status"}},
		{"after a flag", []string{"--yes", "campaign", "re"}, []string{"resume", "reinstate", "restore", "report"}},
		{"after a flag with a value", []string{"campaign", "--output", "json", "wi"}, []string{"winners"}},
		{"after a value that bash has divided", []string{"campaign", "--output", "=", "json", "wi"}, []string{"winners"}},
		{"a flag", []string{"campaign", "extend", "--s"}, []string{"--slots"}},
		{"a value", []string{"campaign", "status", "--output", ""}, []string{"table", "json", "csv"}},
		{"a value of an export", []string{"campaign", "export", "-o", ""}, []string{"json", "csv"}},
		{"a value after an equals sign", []string{"campaign", "status", "--output=j"}, []string{"--output=json"}},
		{"a value that bash has divided", []string{"campaign", "status", "--output", "=", "c"}, []string{"csv"}},
		{"the sign itself", []string{"campaign", "status", "--output", "="}, []string{"table", "json", "csv"}},
		{"a file", []string{"kong", "validate", ""}, []string{":files"}},
		{"a file to write", []string{"campaign", "report", "--html", ""}, []string{":files"}},
		{"a file of a flag", []string{"doctor", "--mongo-ca-file", "/e"}, []string{":files"}},
		{"a shell", []string{"completion", ""}, []string{"bash", "zsh", "fish"}},
		{"a value nobody knows", []string{"campaign", "start", "--name", ""}, nil},
		{"nothing more", []string{"campaign", "status", ""}, nil},
		{"an unknown command", []string{"bogus", ""}, nil},
		{"nothing at all", nil, names(newApp(Streams{}).Commands)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := completed(tt.words...); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestCompleteFromStores: campaigns and usernames are those that there are. Names
// that mean something to a shell are left out.
func TestCompleteFromStores(t *testing.T) {
	s := newStores(t)
	s.mustRun(t, "campaign start --yes --name First --slots 1 --discount 10")
	s.mustRun(t, "campaign end --yes")
	s.mustRun(t, "campaign start --yes --name Second --slots 1 --discount 10")
	s.accounts(t, "alice", "alan", "al.b-c@d", "bob", "zoë", "al;reboot", "al$(reboot)", "al`b`", "-al", "al'x", "al|b", "al&")
	for i := range 60 {
		s.accounts(t, fmt.Sprintf("many%02d", i))
	}
	for _, tt := range []struct {
		words string
		want  []string
	}{
		{"campaign status --campaign ", []string{"1", "2"}},
		{"campaign status --campaign 2", []string{"2"}},
		{"campaign status --campaign=", []string{"--campaign=1", "--campaign=2"}},
		{"campaign suspects --campaign = ", []string{"1", "2"}},
		{"user show al", []string{"al.b-c@d", "alan", "alice"}},
		{"user delete --yes b", []string{"bob"}},
		{"campaign disqualify z", []string{"zoë"}},
		{"user show alice ", nil},
		{"user show nobody", nil},
		{"user show -a", nil},
	} {
		words := append([]string{"--mongo-url", s.mongoURL}, strings.Split(tt.words, " ")...)
		if got := completed(words...); !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.words, got, tt.want)
		}
	}
	if got := completed("user", "show", "--mongo-url="+s.mongoURL, "many"); len(got) != completedNames {
		t.Errorf("%d of many are offered", len(got))
	}
}

// TestCompleteWithoutStores: a MongoDB that is down, silent, or not to be understood
// is nothing to wait for.
func TestCompleteWithoutStores(t *testing.T) {
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for _, url := range []string{"mongodb://127.0.0.1:1/x", "mongodb://" + silent.Addr().String() + "/x", "nonsense"} {
		for _, words := range [][]string{{"user", "show", "a"}, {"campaign", "status", "--campaign", ""}} {
			began := time.Now()
			if got := completed(append([]string{"--mongo-url", url}, words...)...); len(got) > 0 {
				t.Errorf("%s, %q: %q", url, words, got)
			}
			if took := time.Since(began); took > 10*completionTime { // it is a busy machine that tests
				t.Errorf("%s, %q: took %s", url, words, took)
			}
		}
	}
}

// TestEverythingCompletes: whatever can be typed is offered, every command has
// an example, and every flag an explanation.
func TestEverythingCompletes(t *testing.T) {
	var visit func(path []string, commands []*cli.Command)
	visit = func(path []string, commands []*cli.Command) {
		if len(commands) == 0 {
			return
		}
		if got := completed(append(path, "")...); !slices.Equal(got, names(commands)) {
			t.Errorf("%q: got %q", path, got)
		}
		for _, c := range commands {
			at := append(slices.Clone(path), c.Name)
			if len(c.Subcommands) == 0 && !strings.Contains(c.Description, "earlybird "+strings.Join(at, " ")) {
				t.Errorf("%q has no example of itself", at)
			}
			got := completed(append(at, "--")...)
			for _, f := range c.Flags {
				if !slices.Contains(got, "--"+f.Names()[0]) {
					t.Errorf("%q: %s is not offered", at, f.Names()[0])
				}
				if described, ok := f.(cli.DocGenerationFlag); !ok || described.GetUsage() == "" {
					t.Errorf("%q: %s is not explained", at, f.Names()[0])
				}
			}
			visit(at, c.Subcommands)
		}
	}
	visit(nil, newApp(Streams{}).Commands)
}

// shell runs a script in a shell that finds earlybird on its PATH.
func shell(t *testing.T, name string, args ...string) string {
	t.Helper()
	program, err := exec.LookPath(name)
	switch {
	case err != nil && os.Getenv("EARLYBIRD_REQUIRE_REAL") == "1":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	dir := testserver.Programs(t, "earlybird")
	command := exec.Command(program, args...)
	command.Env = append(os.Environ(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"), "HOME="+dir)
	command.Dir = dir
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func TestBash(t *testing.T) {
	got := shell(t, "bash", "--norc", "-c", `
		source <(earlybird completion bash)
		ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _earlybird; echo "${COMPREPLY[*]}"; }
		touch kong.yml
		complete -p earlybird
		ask earlybird camp
		ask earlybird campaign st
		ask earlybird campaign status --output = j
		ask earlybird campaign start --dis
		ask earlybird kong validate kong
		ask earlybird bogus ""`)
	want := "complete -F _earlybird earlybird\ncampaign\nstart status\njson\n--discount\nkong.yml\n\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestZsh(t *testing.T) {
	got := shell(t, "zsh", "-f", "-c", `
		autoload -Uz compinit && compinit -u -d "$HOME/dump"
		source <(earlybird completion zsh)
		compadd() { shift 4; echo "$@"; }
		_files() { echo files; }
		ask() { words=("$@"); CURRENT=$#; _earlybird; }
		echo $_comps[earlybird]
		ask earlybird campaign st
		ask earlybird kong validate ko`)
	if want := "_earlybird\nstart status\nfiles\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFish(t *testing.T) {
	got := shell(t, "fish", "-N", "-c", `
		earlybird completion fish | source
		complete -C "earlybird campaign st"`)
	if !strings.HasPrefix(got, "start\tstart a campaign") || !strings.Contains(got, "\nstatus\tshow how") {
		t.Errorf("got\n%s", got)
	}
}
