package command

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		line string
		want string // as urfave/cli is given it
	}{
		{"as it should be", "campaign status --output json", "campaign status --output json --"},
		{"a flag before the command", "--output json campaign status", "campaign status --output json --"},
		{"a flag between", "campaign --output json status", "campaign status --output json --"},
		{"a flag after an argument", "kong validate kong.yml --output json", "kong validate --output json -- kong.yml"},
		{"a value after an equals sign", "kong validate kong.yml --output=json", "kong validate --output=json -- kong.yml"},
		{"a short flag", "-o csv kong validate x", "kong validate -o csv -- x"},
		{"a flag without a value", "campaign --yes pause", "campaign pause --yes --"},
		{"a value that is a command's name", "campaign start --name status --yes", "campaign start --name status --yes --"},
		{"a value that looks like a flag", "campaign start --name --yes", "campaign start --name --yes --"},
		{"two dashes end the flags", "kong validate -- --output", "kong validate -- --output"},
		{"a dash alone is an argument", "kong validate -", "kong validate -- -"},
		{"an argument that is a command's name", "kong validate render", "kong validate -- render"},
		{"an unknown flag takes nothing", "campaign status --what x", "campaign status --what -- x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := parse(newApp(Streams{}), strings.Fields(tt.line)).argv("earlybird")
			if want := append([]string{"earlybird"}, strings.Fields(tt.want)...); !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// TestConfirm answers where the scripts cannot: as somebody at a terminal.
func TestConfirm(t *testing.T) {
	tests := []struct {
		name, answer string
		want         int
		says         string
	}{
		{"yes", "yes\n", exitDone, "Go on?"},
		{"y without a line break", "Y", exitDone, "Go on?"},
		{"no", "no\n", exitFailed, "nothing was changed"},
		{"return alone", "\n", exitFailed, "nothing was changed"},
		{"end of input", "", exitUsage, "--yes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stores := newStores(t)
			stores.mustRun(t, "campaign start --yes --name Launch --slots 2 --discount 30")
			got, out, errs := stores.run(t.Context(), strings.NewReader(tt.answer), "campaign end")
			if got != tt.want || !strings.Contains(errs, tt.says) {
				t.Errorf("exit %d, want %d and %q, said:\n%s", got, tt.want, tt.says, errs)
			}
			if (got == exitDone) != strings.Contains(out, "ended") {
				t.Errorf("exit %d with the result: %s", got, out)
			}
		})
	}
}
