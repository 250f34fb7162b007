package command

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/earlybird/earlybird/identity/account/enrolment"
)

const (
	// customerBatch is how many customers are worked on in one go.
	customerBatch = 500
	// shownFaults is how many faults of a file are told.
	shownFaults = 10
	// customerColumn is the heading of the column that holds the references.
	customerColumn = "customer"
)

// customerFile is a CSV file of customer references. It is read twice: check finds
// every fault, and what is read after it is what was checked. Neither keeps the
// references, so that a file may have any number of rows.
type customerFile struct {
	file        *os.File
	Total       int
	First, Last string
	seed        maphash.Seed
	checked     []uint64 // the sum of the references up to the end of each batch
}

func openCustomers(path string) (*customerFile, error) {
	// Before it is opened: to open a pipe waits for who writes to it.
	info, err := os.Stat(path)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--customers: %w", err)}
	}
	if !info.Mode().IsRegular() {
		return nil, usage("--customers: %s must be a file: it is read twice", path)
	}
	file, err := os.Open(path) //nolint:gosec // the file that the operator names
	if err != nil {
		return nil, &usageError{fmt.Errorf("--customers: %w", err)}
	}
	return &customerFile{file: file, seed: maphash.MakeSeed()}, nil
}

func (f *customerFile) close() { _ = f.file.Close() }

// check reads the file and fails with every fault in it, by line.
func (f *customerFile) check() error {
	var faults []error
	// By a hash, to save memory. Of a million references two collide, and the file is
	// refused for nothing, once in 30 million times.
	lines := map[uint64]int{}
	var sum maphash.Hash
	sum.SetSeed(f.seed)
	err := f.each(func(line int, reference string, fault error) error {
		hash := maphash.String(f.seed, reference)
		if before, twice := lines[hash]; fault == nil && twice {
			fault = fmt.Errorf("the customer of line %d again", before)
		}
		if fault != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", line, fault))
			return nil
		}
		lines[hash] = line
		if f.Total == 0 {
			f.First = reference
		}
		f.Total, f.Last = f.Total+1, reference
		if _, _ = sum.WriteString(reference + "\n"); f.Total%customerBatch == 0 {
			f.checked = append(f.checked, sum.Sum64())
		}
		return nil
	})
	if err != nil {
		faults = append(faults, err)
	}
	if n := len(faults); n > shownFaults {
		faults = append(slices.Clip(faults[:shownFaults]), fmt.Errorf("and %d more", n-shownFaults))
	}
	if err := errors.Join(faults...); err != nil {
		return withHint(fmt.Errorf("%s is refused, and nothing was issued:\n%w", f.file.Name(), err), "one customer reference a row, under the heading %q or alone; correct the file and try again", customerColumn)
	}
	if f.Total == 0 {
		return fmt.Errorf("%s has no customer in it", f.file.Name())
	}
	if f.Total%customerBatch != 0 {
		f.checked = append(f.checked, sum.Sum64())
	}
	return nil
}

// batches reads the file again, some customers at a time, and fails before the
// first of them that are not as they were checked.
func (f *customerFile) batches(do func(customers []string) error) error {
	var sum maphash.Hash
	sum.SetSeed(f.seed)
	var batch []string
	n := 0
	flush := func() error {
		if n >= len(f.checked) || f.checked[n] != sum.Sum64() {
			return fmt.Errorf("%s was changed while it was read", f.file.Name())
		}
		err := do(batch)
		batch, n = batch[:0], n+1
		return err
	}
	err := f.each(func(_ int, reference string, _ error) error { // what is refused here was not there before
		_, _ = sum.WriteString(reference + "\n")
		if batch = append(batch, reference); len(batch) < customerBatch {
			return nil
		}
		return flush()
	})
	if err == nil && (len(batch) > 0 || n < len(f.checked)) {
		err = flush()
	}
	return err
}

// each reads the file from its beginning and hands out the reference of each row
// that is not empty, or what is wrong with it. An error is one after which the file
// makes no sense, with the line.
func (f *customerFile) each(do func(line int, reference string, fault error) error) error {
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	rows, err := csvReader(f.file)
	if err != nil {
		return err
	}
	column := -1
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if len(row) > 0 && !slices.ContainsFunc(row, func(cell string) bool { return strings.TrimSpace(cell) != "" }) {
			continue // also when it has another number of cells
		}
		var malformed *csv.ParseError
		switch {
		case errors.As(err, &malformed) && errors.Is(err, csv.ErrFieldCount):
			return fmt.Errorf("line %d: has %d columns, the first row %d", malformed.StartLine, len(row), rows.FieldsPerRecord)
		case errors.As(err, &malformed):
			return fmt.Errorf("line %d: is not CSV: %w", malformed.StartLine, malformed.Err)
		case err != nil:
			return err
		}
		if column < 0 {
			column = slices.IndexFunc(row, func(cell string) bool { return strings.EqualFold(strings.TrimSpace(cell), customerColumn) })
			if column >= 0 {
				continue // the heading
			}
			if len(row) > 1 {
				line, _ := rows.FieldPos(0)
				return fmt.Errorf("line %d: has %d columns, and none of them is headed %q", line, len(row), customerColumn)
			}
			column = 0
		}
		line, _ := rows.FieldPos(column)
		reference := strings.TrimSpace(row[column])
		if err := do(line, reference, checkReference(reference)); err != nil {
			return err
		}
	}
}

func checkReference(reference string) error {
	switch {
	case reference == "":
		return errors.New("has no customer")
	case !utf8.ValidString(reference) || strings.ContainsRune(reference, 0):
		return errors.New("is not UTF-8 text: save the file as CSV in UTF-8")
	}
	if err := enrolment.CheckCustomer(reference); err != nil {
		return fmt.Errorf("customer %.70q %w", reference, err)
	}
	return nil
}

// csvReader reads CSV (RFC 4180) with or without a byte order mark, separated by
// the commas, semicolons or tabs that the first line has most of.
func csvReader(file io.Reader) (*csv.Reader, error) {
	text := bufio.NewReader(file)
	start, err := text.Peek(4096)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if bytes.HasPrefix(start, []byte("\xff\xfe")) || bytes.HasPrefix(start, []byte("\xfe\xff")) {
		return nil, errors.New("line 1: is UTF-16: save the file as CSV in UTF-8")
	}
	if mark := []byte("\ufeff"); bytes.HasPrefix(start, mark) {
		_, _ = text.Discard(len(mark))
	}
	rows := csv.NewReader(text)
	rows.ReuseRecord = true
	first, _, _ := bytes.Cut(start, []byte("\n"))
	for _, separator := range ";\t" {
		if bytes.Count(first, []byte(string(separator))) > bytes.Count(first, []byte(string(rows.Comma))) {
			rows.Comma = separator
		}
	}
	return rows, nil
}
