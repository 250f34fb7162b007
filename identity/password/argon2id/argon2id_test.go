package argon2id

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"runtime"
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

func TestNothingIsLeftInTheMemory(t *testing.T) {
	m := newMemory(t, 256)
	m.IDKey([]byte("password"), []byte("somesalt"), 1, 256, 1, 32)
	for i, b := range m.blocks {
		if b != (block{}) {
			t.Fatalf("block %d is not zero after a hash", i)
		}
	}
	runtime.KeepAlive(m)
}

// A library whose functions do something else is found.
func TestCheck(t *testing.T) {
	m := newMemory(t, 64)
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
