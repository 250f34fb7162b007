package output

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

var (
	both = []Column{{Name: "id"}, {Name: "note", Long: true}, {Name: "n"}, {Name: "at"}}
	at   = time.Date(2026, 12, 24, 18, 0, 0, 500e6, time.FixedZone("", 3600))
)

func TestList(t *testing.T) {
	rows := [][]any{{"1", `a "quoted", one`, int64(7), at}, {"2", "x", nil, time.Time{}}}
	tests := []struct {
		name   string
		format Format
		rows   [][]any
		want   string
	}{
		{"JSON", JSON, rows, `[{"id":"1","note":"a \"quoted\", one","n":7,"at":"2026-12-24T17:00:00.5Z"},` + "\n" + ` {"id":"2","note":"x","n":null,"at":null}]` + "\n"},
		{"JSON without rows", JSON, nil, "[]\n"},
		{"CSV", CSV, rows, "id,note,n,at\n1,\"a \"\"quoted\"\", one\",7,2026-12-24T17:00:00.5Z\n2,x,,\n"},
		{"CSV without rows", CSV, nil, "id,note,n,at\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			list := List(&out, tt.format, both...)
			for _, r := range tt.rows {
				if err := list.Row(r...); err != nil {
					t.Fatal(err)
				}
			}
			if err := list.Close(); err != nil {
				t.Fatal(err)
			}
			if out.String() != tt.want {
				t.Errorf("got\n%swant\n%s", &out, tt.want)
			}
			switch tt.format {
			case JSON:
				if !json.Valid(out.Bytes()) {
					t.Error("not JSON")
				}
			case CSV:
				if _, err := csv.NewReader(&out).ReadAll(); err != nil {
					t.Errorf("not CSV: %v", err)
				}
			}
		})
	}
}

func TestOne(t *testing.T) {
	tests := []struct {
		format Format
		want   string
	}{
		{JSON, `{"id":"1","note":"","n":0,"at":null}` + "\n"},
		{CSV, "id,note,n,at\n1,,0,\n"},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		if err := One(&out, tt.format, both, "1", "", int64(0), time.Time{}); err != nil || out.String() != tt.want {
			t.Errorf("%s: %v, got %q, want %q", tt.format, err, &out, tt.want)
		}
	}
}

func TestTableWrapsLongColumns(t *testing.T) {
	var out bytes.Buffer
	list := List(&out, Table, both...)
	if err := errors.Join(list.Row("1", strings.Repeat("many words ", 20), nil, at), list.Close()); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 90 {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
	for _, want := range []string{"id", "many words", "2026-12-24T17:00:00.5Z"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "<nil>") {
		t.Errorf("an unset value shows:\n%s", &out)
	}
}

// TestInert: users choose their names, and spreadsheets run what begins so, at
// whichever character they split a row.
func TestInert(t *testing.T) {
	for given, want := range map[string]string{
		"=1+1": "'=1+1", "+1": "'+1", "-ada": "'-ada", "@ada": "'@ada", "\t=1": "'\t'=1", "\r=1": "'\r'=1",
		"x;=1+1": "x;'=1+1", "x\t=1": "x\t'=1", "x|@y": "x|'@y", "x, =1": "x, '=1", "x:-1": "x:'-1", `x";"=1`: `x";"'=1`,
		"x;-=1": "x;'-=1", "＝1": "'＝1", "x;＠y": "x;'＠y", " =1": " '=1", "x ;  +1": "x ;  '+1",
		"ada=1": "ada=1", "anne-marie": "anne-marie", "a@b.example": "a@b.example", "2-x_-y--z": "2-x_-y--z", "": "", "ö-1": "ö-1",
	} {
		var out bytes.Buffer
		list := List(&out, CSV, Column{Name: "name"}, Column{Name: "n"})
		if err := errors.Join(list.Row(given, int64(-1)), list.Close()); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&out).ReadAll()
		if err != nil || rows[1][0] != strings.ReplaceAll(want, "\r\n", "\n") || rows[1][1] != "-1" {
			t.Errorf("%q is written as %q, %v, want %q", given, rows, err, want)
		}
	}
}

// TestNarrow: what is wider than the terminal is written value by value.
func TestNarrow(t *testing.T) {
	t.Setenv("COLUMNS", "20")
	var out bytes.Buffer
	list := List(&out, Table, Column{Name: "id"}, Column{Name: "name"})
	if err := errors.Join(list.Row(int64(1), "a name of 25 characters.."), list.Row(int64(2), "x"), list.Close()); err != nil {
		t.Fatal(err)
	}
	if want := "id    1\nname  a name of 25 characters..\n\nid    2\nname  x\n"; out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	lines := Lines(&out, Column{Name: "a"})
	for _, v := range []string{"x", "=1"} {
		if err := lines.Row(v); err != nil {
			t.Fatal(err)
		}
	}
	if want := "{\"a\":\"x\"}\n{\"a\":\"=1\"}\n"; out.String() != want || lines.Close() != nil {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

// full is where nothing can be written any more.
type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWhatCannotBeWrittenIsAnError(t *testing.T) {
	for _, f := range Formats() {
		if err := One(full{}, f, both, "1", "x", int64(7), at); !errors.Is(err, errFull) {
			t.Errorf("%s: error %v, want that nothing could be written", f, err)
		}
	}
}
