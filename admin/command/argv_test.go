package command

import (
	"bytes"
	"context"
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
		{"yes", "yes\n", exitFailed, "MongoDB running"}, // it goes on, to a MongoDB that is not there
		{"y without a line break", "Y", exitFailed, "MongoDB running"},
		{"no", "no\n", exitFailed, "nothing was changed"},
		{"return alone", "\n", exitFailed, "nothing was changed"},
		{"end of input", "", exitUsage, "--yes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			argv := strings.Fields("earlybird campaign end --mongo-url mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=50")
			got := Run(context.Background(), argv, Streams{In: strings.NewReader(tt.answer), Out: &out, Err: &errs})
			if got != tt.want || !strings.Contains(errs.String(), tt.says) {
				t.Errorf("exit %d, want %d and %q, said:\n%s", got, tt.want, tt.says, &errs)
			}
			if out.Len() > 0 {
				t.Errorf("a result without a change: %s", &out)
			}
		})
	}
}
