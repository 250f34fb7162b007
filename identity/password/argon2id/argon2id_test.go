package argon2id

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
)

// The memory is used again, for hashes of every size, and what was in it before
// changes nothing.
func TestTheSameAsTheLibrary(t *testing.T) {
	const kib = 600
	m := newMemory(t, kib)
	for _, memory := range []uint32{1, 7, 8, 9, 63, 64, 65, 128, 511, kib, kib + 1, 1024} {
		for _, time := range []uint32{1, 2, 3} {
			for _, threads := range []uint8{1, 2, 3, 4, 16} {
				password, salt := make([]byte, memory%70), make([]byte, 8+memory%9)
				rand.Read(password)
				rand.Read(salt)
				length := 4 + memory%100
				got := m.IDKey(password, salt, time, memory, threads, length)
				if want := argon2.IDKey(password, salt, time, memory, threads, length); !bytes.Equal(got, want) {
					t.Errorf("%d KiB, %d passes, %d lanes: %x, want %x", memory, time, threads, got, want)
				}
			}
		}
	}
}

// Also after a panic: the library has one at the end of a hash without length.
func TestNothingIsLeftInTheMemory(t *testing.T) {
	m := newMemory(t, 256)
	for _, length := range []uint32{32, 0} {
		func() {
			defer func() { _ = recover() }()
			m.IDKey([]byte("password"), []byte("somesalt"), 1, 256, 1, length)
		}()
		for i, b := range m.blocks {
			if b != (block{}) {
				t.Fatalf("block %d is not zero after a hash of %d bytes", i, length)
			}
		}
	}
	runtime.KeepAlive(m)
}

// A hash that needs more takes it where the others have theirs: in Go's memory,
// which is bounded tightly, each would have garbage collected all the time.
func TestMoreThanThereIs(t *testing.T) {
	if !Apart {
		t.Skip("all memory is Go's here")
	}
	m := newMemory(t, 64)
	if got := allocated(func() { m.IDKey([]byte("password"), []byte("somesalt"), 1, 4096, 1, 32) }); got > 1<<20 {
		t.Errorf("a hash of 4 MiB took %d KiB of Go's memory", got>>10)
	}
}

// A library whose functions do something else is found.
func TestCheck(t *testing.T) {
	m := newMemory(t, checkKiB)
	m.blocks[20][3] = 1 // as if it had not been cleared
	if err := m.check(); err == nil {
		t.Error("a wrong hash was not found")
	}
}

func TestWrongParametersPanicAsInTheLibrary(t *testing.T) {
	m := newMemory(t, 64)
	for name, call := range map[string]func(){
		"no passes": func() { m.IDKey(nil, nil, 0, 64, 1, 32) },
		"no lanes":  func() { m.IDKey(nil, nil, 1, 64, 0, 32) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			call()
		})
	}
}

// Memory that nobody holds any more is given back when the hash is done, not
// before. Checked without KeepAlive: the program crashes.
func TestMemoryStaysDuringTheHash(t *testing.T) {
	done := make(chan struct{})
	go func(m *Memory) {
		defer close(done)
		m.IDKey([]byte("password"), []byte("somesalt"), 4, 4096, 1, 32)
	}(newMemory(t, 4096))
	for {
		select {
		case <-done:
			return
		default:
			runtime.GC()
		}
	}
}

// The linker goes by names alone. A function that takes more than this package
// knows of would find what is left in a register, and may work with it for long.
func TestSignatures(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "golang.org/x/crypto/argon2").Output()
	if err != nil {
		t.Fatal(err)
	}
	library := strings.TrimSpace(string(out))
	theirs := signatures(t, filepath.Join(library, "argon2.go"))
	maps.Copy(theirs, signatures(t, filepath.Join(library, "blake2b.go")))
	for name, ours := range signatures(t, "library.go") {
		if theirs[name] != ours {
			t.Errorf("%s is %s here and %q in the library", name, ours, theirs[name])
		}
	}
}

// signatures returns the functions of a file with the types of what they take
// and return.
func signatures(t *testing.T, file string) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			found[f.Name.Name] = fmt.Sprint(typesOf(f.Type.Params), typesOf(f.Type.Results))
		}
	}
	return found
}

func typesOf(list *ast.FieldList) (all []string) {
	if list == nil {
		return nil
	}
	for _, field := range list.List {
		for range max(1, len(field.Names)) {
			all = append(all, types.ExprString(field.Type))
		}
	}
	return all
}

// allocated returns how many bytes of Go's memory f takes.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func newMemory(t *testing.T, kib uint32) *Memory {
	t.Helper()
	m, err := New(kib)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// BenchmarkIDKey compares a hash with the library's.
func BenchmarkIDKey(b *testing.B) {
	const kib = 19456
	m, err := New(kib)
	if err != nil {
		b.Fatal(err)
	}
	for name, key := range map[string]func([]byte, []byte, uint32, uint32, uint8, uint32) []byte{"again": m.IDKey, "library": argon2.IDKey} {
		b.Run(fmt.Sprint("memory=", name), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				key([]byte("password"), []byte("somesaltsomesalt"), 2, kib, 1, 32)
			}
		})
	}
}
