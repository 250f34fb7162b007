package argon2id

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/argon2"
)

// each runs a test for each form that this machine has. CI's log shows which.
func each(t *testing.T, test func(t *testing.T, form string)) {
	for _, form := range Forms() {
		t.Run(form, func(t *testing.T) { test(t, form) })
	}
}

func newHasher(t testing.TB, form string, kib uint32, concurrency int) *Hasher {
	t.Helper()
	h, err := New(Config{MemoryKiB: kib, Concurrency: concurrency, Form: form})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// RFC 9106 section 5.3.
func TestRFC9106(t *testing.T) {
	const want = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
	each(t, func(t *testing.T, form string) {
		key := make([]byte, 32)
		newHasher(t, form, 32, 1).hash(key, inputs{
			password: bytes.Repeat([]byte{1}, 32),
			salt:     bytes.Repeat([]byte{2}, 16),
			secret:   bytes.Repeat([]byte{3}, 8),
			data:     bytes.Repeat([]byte{4}, 12),
		}, params{passes: 3, kib: 32, lanes: 4})
		if got := hex.EncodeToString(key); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// The same memory serves hashes of every size, in any order, and what was in it
// before changes none.
func TestEqualsXCrypto(t *testing.T) {
	const limit = 600
	var cases []params
	for lanes := uint32(1); lanes <= 5; lanes++ {
		for passes := uint32(1); passes <= 4; passes++ {
			for kib := 8 * lanes; kib < 8*lanes+20; kib++ {
				cases = append(cases, params{passes, kib, lanes})
			}
			// Around segments of 128 and 256 blocks, and more than the Hasher has.
			for _, kib := range []uint32{64 * lanes, 511, 512 * lanes, 516 * lanes, limit, limit + 1, 1025 * lanes} {
				cases = append(cases, params{passes, kib, lanes})
			}
		}
	}
	cases = append(cases, params{1, 2048, 255}, params{16, 128, 16})
	each(t, func(t *testing.T, form string) {
		h := newHasher(t, form, limit, 1)
		random := rand.New(rand.NewPCG(1, 2))
		for _, i := range random.Perm(len(cases)) {
			c := cases[i]
			password, salt := randomBytes(random, int(c.kib)%300), randomBytes(random, 8+int(c.kib)%40)
			key := make([]byte, 4+i%61)
			h.IDKey(key, password, salt, c.passes, c.kib, uint8(c.lanes))
			if want := argon2.IDKey(password, salt, c.passes, c.kib, uint8(c.lanes), uint32(len(key))); !bytes.Equal(key, want) {
				t.Errorf("%+v, %d bytes: got %x, want %x", c, len(key), key, want)
			}
		}
	})
}

func randomBytes(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

func FuzzIDKey(f *testing.F) {
	hashers := map[string]*Hasher{}
	for _, form := range Forms() {
		hashers[form] = newHasher(f, form, 128, 1)
	}
	f.Add([]byte("password"), []byte("somesalt"), uint8(2), uint16(64), uint8(1), uint8(32))
	f.Add([]byte{}, []byte{}, uint8(1), uint16(8), uint8(1), uint8(4))
	f.Add([]byte("segments of more than 128 blocks"), []byte("somesaltsomesalt"), uint8(3), uint16(680), uint8(0), uint8(64))
	f.Fuzz(func(t *testing.T, password, salt []byte, passes uint8, kib uint16, lanes, size uint8) {
		passes, lanes, size = passes%4+1, lanes%8+1, size%61+4
		memory := 8*uint32(lanes) + uint32(kib)%700
		want := argon2.IDKey(password, salt, uint32(passes), memory, lanes, uint32(size))
		for form, h := range hashers {
			key := make([]byte, size)
			h.IDKey(key, password, salt, uint32(passes), memory, lanes)
			if !bytes.Equal(key, want) {
				t.Errorf("%s: got %x, want %x", form, key, want)
			}
		}
	})
}

// FuzzCompress compares the forms with each other, block by block: a hash shows
// only some of what a wrong instruction may do.
func FuzzCompress(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, s1, s2 uint64) {
		random := rand.New(rand.NewPCG(s1, s2))
		var blocks [3]block
		for i := range blocks {
			for j := range blocks[i] {
				blocks[i][j] = random.Uint64()
				if random.Uint32()%4 == 0 { // words that carry
					blocks[i][j] |= 0xffffffff << (32 * (random.Uint32() % 2))
				}
			}
		}
		want := blocks
		compressGeneric(&want[0], &want[1], &want[2])
		for _, form := range forms() {
			got := blocks
			if form.compress(&got[0], &got[1], &got[2]); got != want {
				t.Errorf("%s differs from %s", form.name, Generic)
			}
		}
	})
}

// A form that computes something else ends the start, also when it does so once
// in 4,000 blocks.
func TestCheck(t *testing.T) {
	calls := 0
	broken := form{"broken", func(dst, prev, ref *block) {
		compressGeneric(dst, prev, ref)
		if calls++; calls == 1000 {
			dst[127] ^= 1
		}
	}}
	if _, err := newOf(Config{MemoryKiB: 64, Concurrency: 1}, []form{broken}); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("one wrong bit in one of %d blocks: %v", calls, err)
	}
}

func TestNew(t *testing.T) {
	fastest := newHasher(t, "", 8, 1)
	if got := fastest.Form(); got != Forms()[0] {
		t.Errorf("form %s, want %s", got, Forms()[0])
	}
	if !slices.Contains(Forms(), Generic) {
		t.Errorf("forms %q without %s", Forms(), Generic)
	}
	for name, c := range map[string]Config{
		"no memory":      {Concurrency: 1},
		"no concurrency": {MemoryKiB: 8},
		"unknown form":   {MemoryKiB: 8, Concurrency: 1, Form: "mmx"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(c); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestRefusedParameters(t *testing.T) {
	h := newHasher(t, Generic, 64, 1)
	for name, c := range map[string]struct {
		passes, kib uint32
		lanes       uint8
		size        int
	}{
		"no passes":                  {0, 64, 1, 32},
		"no lanes":                   {1, 64, 0, 32},
		"less than 8 KiB":            {1, 7, 1, 32},
		"less than 8 KiB for a lane": {1, 31, 4, 32},
		"no key":                     {1, 64, 1, 0},
		"a key of 3 bytes":           {1, 64, 1, 3},
		"a key of 65 bytes":          {1, 64, 1, 65},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
				if len(h.free) != 1 {
					t.Error("memory was taken")
				}
			}()
			h.IDKey(make([]byte, c.size), nil, nil, c.passes, c.kib, c.lanes)
		})
	}
}

// Nothing is left in the memory, also of a hash that ends in a panic, and of a
// password that its buffer was too short for; and the memory comes back.
func TestNothingIsLeft(t *testing.T) {
	h := newHasher(t, "", 256, 1)
	good := h.form
	for name, c := range map[string]struct {
		password int    // bytes
		kib      uint32 // more than 256 is new memory
		panicsAt int    // of the blocks
	}{
		"hash":                {8, 256, 0},
		"long password":       {5000, 256, 0},
		"new memory":          {8, 512, 0},
		"panic":               {8, 256, 300},
		"early panic":         {5000, 256, 1},
		"panic in new memory": {8, 512, 300},
	} {
		t.Run(name, func(t *testing.T) {
			var touched []*block
			h.form = form{good.name, func(dst, prev, ref *block) {
				touched = append(touched, dst, prev, ref)
				if len(touched) == 3*c.panicsAt {
					panic("in the middle")
				}
				good.compress(dst, prev, ref)
			}}
			m := h.free[0]
			func() {
				defer func() {
					if (recover() != nil) != (c.panicsAt > 0) {
						t.Error("a panic, or none")
					}
				}()
				h.IDKey(make([]byte, 32), bytes.Repeat([]byte("x"), c.password), []byte("somesalt"), 2, c.kib, 1)
			}()
			if len(h.free) != 1 || h.free[0] != m {
				t.Fatal("the memory did not come back")
			}
			for i := range m.blocks {
				touched = append(touched, &m.blocks[i])
			}
			for i, b := range touched {
				if *b != (block{}) {
					t.Fatalf("block %d of %d is not zero", i, len(touched))
				}
			}
			if input := m.input[:cap(m.input)]; bytes.ContainsFunc(input, func(r rune) bool { return r != 0 }) {
				t.Errorf("the input of BLAKE2b is left: %q", bytes.TrimRight(input, "\x00"))
			}
		})
	}
}

// Hashes at once have memory of their own: each is right. The race detector
// sees the portable form only.
func TestAtOnce(t *testing.T) {
	each(t, func(t *testing.T, form string) {
		const concurrency, kib = 3, 512
		h := newHasher(t, form, kib, concurrency)
		var all sync.WaitGroup
		for n := range 3 * concurrency { // more wait
			all.Go(func() {
				password, salt := fmt.Appendf(nil, "password %d", n), []byte("somesaltsomesalt")
				want := argon2.IDKey(password, salt, 1, kib, 1, 32)
				key := make([]byte, 32)
				for range 10 {
					if h.IDKey(key, password, salt, 1, kib, 1); !bytes.Equal(key, want) {
						t.Errorf("hash %d is wrong", n)
						return
					}
				}
			})
		}
		all.Wait()
		if len(h.free) != concurrency {
			t.Errorf("%d memories are free, want %d", len(h.free), concurrency)
		}
	})
}

// The memories do not overlap, and the one that was used last is used next.
func TestMemories(t *testing.T) {
	h := newHasher(t, Generic, 64, 3)
	taken := []*memory{h.take(), h.take(), h.take()}
	for i, m := range taken {
		for j := range m.blocks {
			m.blocks[j][0] = uint64(i + 1)
		}
	}
	for i, m := range taken {
		for j := range m.blocks {
			if m.blocks[j][0] != uint64(i+1) {
				t.Fatalf("block %d of memory %d belongs to memory %d as well", j, i, m.blocks[j][0]-1)
			}
		}
	}
	for _, m := range taken {
		h.give(m)
	}
	if h.take() != taken[2] {
		t.Error("the memory that came back last is not the next")
	}
}

func TestNoGarbage(t *testing.T) {
	each(t, func(t *testing.T, form string) {
		h := newHasher(t, form, 256, 1)
		key, password, salt := make([]byte, 32), []byte("password"), []byte("somesalt")
		if n := testing.AllocsPerRun(5, func() { h.IDKey(key, password, salt, 2, 256, 2) }); n != 0 {
			t.Errorf("%v allocations a hash", n)
		}
	})
}

// A hash that needs more than the Hasher has leaves garbage, which the memory
// limit bounds: it does not come together.
func TestLargerHashesDoNotPileUp(t *testing.T) {
	const limit, kib = 64 << 20, 32 << 10
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit))
	h := newHasher(t, "", 64, 1)
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	for range 10 {
		h.IDKey(make([]byte, 32), []byte("password"), []byte("somesalt"), 1, kib, 1)
		metrics.Read(sample)
		if got := sample[0].Value.Uint64(); got > limit+kib<<10 {
			t.Fatalf("%d MiB are used, with a limit of %d and hashes of %d", got>>20, limit>>20, kib>>10)
		}
	}
}
