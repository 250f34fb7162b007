package command

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func customersOf(t *testing.T, text string) *customerFile {
	t.Helper()
	path := filepath.Join(t.TempDir(), "customers.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := openCustomers(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	return f
}

func TestCustomers(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no heading", "C-1\nC-2\nC-3\n", ""},
		{"heading", "customer\nC-1\nC-2\nC-3\n", ""},
		{"no line break at the end", "C-1\nC-2\nC-3", ""},
		{"CRLF and byte order mark", "\ufeffCustomer\r\nC-1\r\nC-2\r\nC-3\r\n", ""},
		{"byte order mark without heading", "\ufeffC-1\nC-2\nC-3\n", ""},
		{"quotes", "\"customer\"\n\"C-1\"\n\"C-2\"\nC-3\n", ""},
		{"empty lines and spaces", "\n\ncustomer\n\n  C-1 \n   \nC-2\n\n\"C-3\"\n\n", ""},
		{"semicolons", "name;CUSTOMER;\n\"a;b\";C-1;\nb;C-2;\nc;C-3;\n;;\n\n", ""},
		{"tabs", "name\tcustomer\na\tC-1\nb\tC-2\nc\tC-3\n", ""},
		{"other columns in another encoding, with line breaks", "customer,name\nC-1,M\xfcller\nC-2,\"a\n\nb\"\nC-3,\"\"\"\"\n", ""},
		{"nothing", "", "has no customer in it"},
		{"a heading alone", "\ufeffcustomer\r\n", "has no customer in it"},
		{"empty lines alone", "\n\n \n", "has no customer in it"},
		{"duplicate", "C-1\n\nC-2\n\"C-1\"\n", "line 4: the customer of line 1 again"},
		{"no column", "\nname,id\na,C-1\n", `line 2: has 2 columns, and none of them is headed "customer"`},
		{"no customer", "customer,name\nC-1,a\n,b\n", "line 3: has no customer"},
		{"too few columns", "customer,name\nC-1\n", "line 2: has 1 columns, the first row 2"},
		{"too many columns", "C-1\nC-2,x\n", "line 2: has 2 columns, the first row 1"},
		{"quote in a cell", "C-1\nC\"2\n", "line 2: is not CSV: bare \""},
		{"quote that does not end", "C-1\n\"C-2\nC-3\n", `line 2: is not CSV: extraneous or missing " in quoted-field`},
		{"UTF-16", "\xff\xfeC\x00-\x001\x00", "line 1: is UTF-16: save the file as CSV in UTF-8"},
		{"UTF-16 without mark", "C\x00-\x001\x00\n\x00", "line 1: is not UTF-8 text"},
		{"Latin 1", "C-1\nZo\xeb\n", "line 2: is not UTF-8 text"},
		{"not ASCII", "C-1\nZoë\n", `line 2: customer "Zoë" must be ASCII letters`},
		{"a formula", "C-1\n=1+1\n", `line 2: customer "=1+1" must be ASCII letters`},
		{"too long", "C-1\n" + strings.Repeat("x", 65) + "\n", "is longer than 64 characters"},
		{"line ends of an old Mac", "C-1\rC-2\rC-3", `line 1: customer "C-1\rC-2\rC-3" must be`},
		{"many faults", strings.Repeat("=\n", 1000), "line 10: customer \"=\" must be ASCII letters and digits, with single . _ - / : # @ + between them, such as C-10042\nand 990 more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := customersOf(t, tt.text)
			err := f.check()
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("= %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if err := f.batches(func(customers []string) error { got = append(got, customers...); return nil }); err != nil {
				t.Fatal(err)
			}
			if want := []string{"C-1", "C-2", "C-3"}; !slices.Equal(got, want) || f.Total != 3 || f.First != "C-1" || f.Last != "C-3" {
				t.Errorf("read %q, of %d from %s to %s; want %q", got, f.Total, f.First, f.Last, want)
			}
		})
	}
}

// manyCustomers is a file of n customers, one a line.
func manyCustomers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "C-%07d\n", i)
	}
	return b.String()
}

// A file that is changed after it was checked is refused from the change on.
func TestCustomersChange(t *testing.T) {
	const n = 2*customerBatch + 1
	before := manyCustomers(n)
	change := func(at int, to string) string { return before[:at*10] + to + before[at*10+len(to):] }
	for _, tt := range []struct {
		name, text string
		read       int
	}{
		{"not changed", before, n},
		{"first", change(0, "D"), 0},
		{"second batch", change(customerBatch+3, "D"), customerBatch},
		{"refused now", change(customerBatch+3, "="), customerBatch},
		{"last", change(n-1, "D"), 2 * customerBatch},
		{"shorter", before[:len(before)-10], 2 * customerBatch},
		{"much shorter", before[:10], 0},
		{"empty", "", 0},
		{"longer", before + "C-new\n", 2 * customerBatch},
		{"two exchanged", before[10:20] + before[:10] + before[20:], 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := customersOf(t, before)
			if err := f.check(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f.file.Name(), []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			read := 0
			err := f.batches(func(customers []string) error { read += len(customers); return nil })
			if changed := err != nil && strings.Contains(err.Error(), "was changed while it was read"); read != tt.read || changed == (tt.read == n) {
				t.Errorf("read %d, %v; want %d", read, err, tt.read)
			}
		})
	}
}

// Of a million rows little more than a hash is kept.
func TestAMillionCustomers(t *testing.T) {
	f := customersOf(t, manyCustomers(1_000_000))
	if err := f.check(); err != nil || f.Total != 1_000_000 {
		t.Fatalf("%d customers, %v", f.Total, err)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 64<<20 {
		t.Errorf("%d MiB are kept after the check", m.HeapAlloc>>20)
	}
}

func TestCustomersMustBeAFile(t *testing.T) {
	for _, path := range []string{"", "nowhere.csv", t.TempDir(), os.DevNull} {
		if f, err := openCustomers(path); err == nil {
			f.close()
			t.Errorf("%q is taken", path)
		}
	}
}
