// Package output writes rows as a table for people, or as JSON or CSV for
// programs, row by row where the format allows it.
package output

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Format is how rows are written.
type Format string

// The formats.
const (
	Table Format = "table"
	JSON  Format = "json"
	CSV   Format = "csv"
)

// Formats are all of them, the default first.
func Formats() []Format { return []Format{Table, JSON, CSV} }

// Column is one value of each row.
type Column struct {
	Name string // the JSON member and the CSV heading
	// Long is set for a column of sentences, which are Earlybird's own. They may be
	// too long for a table's line, and are wrapped there.
	Long bool
}

// Writer writes rows that all have the same columns. A value is a string, a
// bool, a number, a time.Time or nil, and in JSON whatever encoding/json takes; a
// zero time is as nil: null in JSON, empty elsewhere. Times are written as RFC 3339
// says, in UTC. In CSV, what a spreadsheet would take for a formula has an
// apostrophe before it, except in a Long column. A table that is wider than the
// terminal is written as lines of name and value.
type Writer interface {
	// Row writes one row, or keeps it until Close.
	Row(values ...any) error
	// Close writes what is missing. It does not close what it writes to.
	Close() error
}

// longest is the width at which a long column is wrapped.
const longest = 36

// List returns a Writer of any number of rows: a JSON list of objects.
func List(w io.Writer, f Format, columns ...Column) Writer {
	switch f {
	case JSON:
		return &jsonList{w: w, columns: columns}
	case CSV:
		return &csvList{w: csv.NewWriter(w), columns: columns}
	default:
		return newTable(w, columns)
	}
}

// One writes a single row: a JSON object instead of a list, and a line for each
// value instead of a table.
func One(w io.Writer, f Format, columns []Column, values ...any) error {
	switch f {
	case Table:
		return record(w, columns, values)
	case JSON:
		object, err := object(columns, values)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", object)
		return err
	case CSV:
	}
	list := List(w, f, columns...)
	if err := list.Row(values...); err != nil {
		return err
	}
	return list.Close()
}

// record writes a row as lines of name and value, which fit any terminal.
func record(w io.Writer, columns []Column, values []any) error {
	widest := 0
	for _, c := range columns {
		widest = max(widest, len(c.Name))
	}
	for i, c := range columns {
		line := fmt.Sprintf("%-*s  %s", widest, c.Name, words(values[i]))
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

// object is a row in JSON, its members in the order of the columns.
func object(columns []Column, values []any) ([]byte, error) {
	out := []byte{'{'}
	for i, c := range columns {
		if i > 0 {
			out = append(out, ',')
		}
		name, err := json.Marshal(c.Name)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", c.Name, err)
		}
		value, err := json.Marshal(plain(values[i]))
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", c.Name, err)
		}
		out = append(append(append(out, name...), ':'), value...)
	}
	return append(out, '}'), nil
}

// plain is a value as JSON has it.
func plain(v any) any {
	at, isTime := v.(time.Time)
	switch {
	case !isTime:
		return v
	case at.IsZero():
		return nil
	default:
		return at.UTC().Format(time.RFC3339Nano)
	}
}

// words is a value as text.
func words(v any) string {
	if v = plain(v); v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

type jsonList struct {
	w       io.Writer
	columns []Column
	rows    int
}

func (l *jsonList) Row(values ...any) error {
	before := ",\n "
	if l.rows == 0 {
		before = "["
	}
	l.rows++
	row, err := object(l.columns, values)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(l.w, "%s%s", before, row)
	return err
}

func (l *jsonList) Close() error {
	end := "]\n"
	if l.rows == 0 {
		end = "[]\n"
	}
	_, err := io.WriteString(l.w, end)
	return err
}

// Lines returns a Writer of JSON objects, one per line: for any number of rows,
// and for rows that come one after the other.
func Lines(w io.Writer, columns ...Column) Writer { return &jsonLines{w, columns} }

type jsonLines struct {
	w       io.Writer
	columns []Column
}

func (l *jsonLines) Row(values ...any) error {
	row, err := object(l.columns, values)
	if err != nil {
		return err
	}
	_, err = l.w.Write(append(row, '\n'))
	return err
}

func (l *jsonLines) Close() error { return nil }

type csvList struct {
	w       *csv.Writer
	columns []Column
	headed  bool
}

func (l *csvList) head() error {
	if l.headed {
		return nil
	}
	l.headed = true
	names := make([]string, len(l.columns))
	for i, c := range l.columns {
		names[i] = c.Name
	}
	return l.w.Write(names)
}

func (l *csvList) Row(values ...any) error {
	if err := l.head(); err != nil {
		return err
	}
	record := make([]string, len(values))
	for i, v := range values {
		record[i] = words(v)
		if _, isText := v.(string); isText && !l.columns[i].Long {
			record[i] = inert(record[i])
		}
	}
	return l.w.Write(record)
}

// inert puts an apostrophe before whatever a spreadsheet would run as a formula
// (OWASP, CSV Injection): users choose their names. A reader may split rows at
// another character than the comma, and cells are trimmed, so a formula can begin
// after anything but a letter or a digit.
func inert(s string) string {
	const formula = "=+-@＝＋－＠"
	var b strings.Builder
	before := ' '
	for i, r := range s {
		inside := unicode.IsLetter(before) || unicode.IsDigit(before) || strings.ContainsRune("_'"+formula, before)
		if strings.ContainsRune(formula, r) && !inside || strings.ContainsRune("\t\r", r) && i == 0 {
			b.WriteByte('\'')
		}
		b.WriteRune(r)
		before = r
	}
	return b.String()
}

func (l *csvList) Close() error {
	if err := l.head(); err != nil {
		return err
	}
	l.w.Flush()
	return l.w.Error()
}

type tableList struct {
	table.Writer
	w       io.Writer
	columns []Column
	rows    [][]any
}

func newTable(w io.Writer, columns []Column) *tableList {
	t := &tableList{Writer: table.NewWriter(), w: w, columns: columns}
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	heading := make(table.Row, len(columns))
	configs := make([]table.ColumnConfig, 0, len(columns))
	for i, c := range columns {
		heading[i] = c.Name
		if c.Long {
			configs = append(configs, table.ColumnConfig{Number: i + 1, WidthMax: longest, WidthMaxEnforcer: text.WrapSoft})
		}
	}
	t.AppendHeader(heading)
	t.SetColumnConfigs(configs)
	return t
}

func (t *tableList) Row(values ...any) error {
	t.rows = append(t.rows, slices.Clone(values))
	row := make(table.Row, len(values))
	for i, v := range values {
		row[i] = v
		switch v.(type) {
		case time.Time, nil:
			row[i] = words(v)
		}
	}
	t.AppendRow(row)
	return nil
}

func (t *tableList) Close() error {
	rendered := t.Render()
	if most := width(t.w); most > 0 && text.LongestLineLen(rendered) > most {
		for i, row := range t.rows {
			if i > 0 {
				if _, err := io.WriteString(t.w, "\n"); err != nil {
					return err
				}
			}
			if err := record(t.w, t.columns, row); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := io.WriteString(t.w, rendered+"\n")
	return err
}

// width is how many columns a terminal has; 0: it is none, and takes any line.
// COLUMNS in the environment says otherwise.
func width(w io.Writer) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if file, ok := w.(*os.File); ok {
		return terminalWidth(file)
	}
	return 0
}
