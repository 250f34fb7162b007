package password

import (
	"errors"
	"strings"
	"testing"
)

// cheap is below what NewHasher allows, for tests of everything but the cost.
var cheap = Params{MemoryKiB: 64, Time: 1, Parallelism: 1}

func newHasher(t testing.TB) *Hasher {
	t.Helper()
	h, err := NewHasher(Config{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// The known answers are those of the reference implementation's own tests:
// phc-winner-argon2, src/test.c.
func TestVerifyKnownAnswers(t *testing.T) {
	h := newHasher(t)
	for _, test := range []struct{ name, password, phc string }{
		{"64 MiB", "password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
		{"256 KiB", "password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
		{"two lanes", "password", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"},
		{"one pass", "password", "$argon2id$v=19$m=65536,t=1,p=1$c29tZXNhbHQ$9qWtwbpyPd3vm1rB1GThgPzZ3/ydHL92zKL+15XZypg"},
		{"another password", "differentpassword", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94"},
		{"another salt", "password", "$argon2id$v=19$m=65536,t=2,p=1$ZGlmZnNhbHQ$vfMrBczELrFdWP0ZsfhWsRPaHppYdP3MVEMIVlqoFBw"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if ok, err := h.Verify(t.Context(), test.phc, test.password); !ok || err != nil {
				t.Errorf("right password: %t, %v", ok, err)
			}
			if ok, err := h.Verify(t.Context(), test.phc, test.password+"x"); ok || err != nil {
				t.Errorf("wrong password: %t, %v", ok, err)
			}
			if !h.Stale(test.phc) {
				t.Error("not stale, with other parameters and a shorter salt")
			}
		})
	}
}

func TestHash(t *testing.T) {
	h := newHasher(t)
	first, err := h.Hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	second, err := h.Hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(first, "$argon2id$v=19$m=19456,t=2,p=1$") || len(first) != 31+22+1+43 {
		t.Errorf("hash %q has another shape", first)
	}
	if first == second {
		t.Error("two hashes of one password are equal: the salt is not random")
	}
	for password, want := range map[string]bool{"correct horse": true, "Correct horse": false, "": false, "correct horse\x00": false} {
		if got, err := h.Verify(t.Context(), first, password); got != want || err != nil {
			t.Errorf("verify %q = %t, %v; want %t", password, got, err, want)
		}
	}
	if h.Stale(first) {
		t.Error("a new hash is stale")
	}
	if err := h.VerifyNobody(t.Context(), "correct horse"); err != nil {
		t.Error(err)
	}
}

func TestStale(t *testing.T) {
	encoded := newHasher(t).newPHC("x").String()
	for _, test := range []struct {
		name   string
		params Params
		want   bool
	}{
		{"same", DefaultParams, false},
		{"more memory", Params{MemoryKiB: 20000, Time: 2, Parallelism: 1}, true},
		{"more passes", Params{MemoryKiB: 19456, Time: 3, Parallelism: 1}, true},
		{"more lanes", Params{MemoryKiB: 19456, Time: 2, Parallelism: 2}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, err := NewHasher(Config{Params: test.params})
			if err != nil {
				t.Fatal(err)
			}
			if got := h.Stale(encoded); got != test.want {
				t.Errorf("stale = %t, want %t", got, test.want)
			}
		})
	}
	if !newHasher(t).Stale("not a hash") {
		t.Error("a malformed hash is not stale")
	}
}

func TestParams(t *testing.T) {
	for _, test := range []struct {
		name   string
		params Params
		ok     bool
	}{
		{"default", DefaultParams, true},
		{"46 MiB and one pass", Params{47104, 1, 1}, true},
		{"7 MiB and five passes", Params{7168, 5, 1}, true},
		{"more of both", Params{65536, 4, 4}, true},
		{"one KiB less than the default", Params{19455, 2, 1}, false},
		{"one pass less than the default", Params{19456, 1, 1}, false},
		{"too little memory for any number of passes", Params{7167, 16, 1}, false},
		{"no passes", Params{19456, 0, 1}, false},
		{"no lanes", Params{19456, 2, 0}, false},
		{"too many passes", Params{19456, 17, 1}, false},
		{"too many lanes", Params{19456, 2, 17}, false},
		{"too much memory", Params{256*1024 + 1, 2, 1}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.params.Validate(); (err == nil) != test.ok {
				t.Errorf("validate: %v", err)
			}
		})
	}
	if _, err := NewHasher(Config{Params: cheap}); err == nil {
		t.Error("a hasher with weak parameters was made")
	}
	if _, err := NewHasher(Config{Concurrency: -1}); err == nil {
		t.Error("a hasher with negative concurrency was made")
	}
}

func TestParseMalformed(t *testing.T) {
	const salt, hash = "c29tZXNhbHQ", "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	h := newHasher(t)
	for _, test := range []struct{ name, phc string }{
		{"empty", ""},
		{"no fields", "argon2id"},
		{"argon2i", "$argon2i$v=19$m=256,t=2,p=1$" + salt + "$" + hash},
		{"bcrypt", "$2a$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ012"},
		{"older version", "$argon2id$v=16$m=256,t=2,p=1$" + salt + "$" + hash},
		{"no version", "$argon2id$m=256,t=2,p=1$" + salt + "$" + hash},
		{"parameter missing", "$argon2id$v=19$m=256,t=2$" + salt + "$" + hash},
		{"another order", "$argon2id$v=19$t=2,m=256,p=1$" + salt + "$" + hash},
		{"leading zero", "$argon2id$v=19$m=0256,t=2,p=1$" + salt + "$" + hash},
		{"plus sign", "$argon2id$v=19$m=+256,t=2,p=1$" + salt + "$" + hash},
		{"negative", "$argon2id$v=19$m=-256,t=2,p=1$" + salt + "$" + hash},
		{"memory of a bomb", "$argon2id$v=19$m=4194304,t=2,p=1$" + salt + "$" + hash},
		{"memory past 32 bits", "$argon2id$v=19$m=4294967552,t=2,p=1$" + salt + "$" + hash},
		{"passes of a bomb", "$argon2id$v=19$m=256,t=4294967295,p=1$" + salt + "$" + hash},
		{"no pass", "$argon2id$v=19$m=256,t=0,p=1$" + salt + "$" + hash},
		{"lanes past 8 bits", "$argon2id$v=19$m=256,t=2,p=257$" + salt + "$" + hash},
		{"less than 8 KiB a lane", "$argon2id$v=19$m=7,t=2,p=1$" + salt + "$" + hash},
		{"short salt", "$argon2id$v=19$m=256,t=2,p=1$c29tZQ$" + hash},
		{"padded salt", "$argon2id$v=19$m=256,t=2,p=1$" + salt + "=$" + hash},
		{"altered last character", "$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + hash[:len(hash)-1] + "5"},
		{"line break", "$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + hash + "\n"},
		{"no hash", "$argon2id$v=19$m=256,t=2,p=1$" + salt + "$"},
		{"short hash", "$argon2id$v=19$m=256,t=2,p=1$" + salt + "$nf65EOgL"},
		{"another field", "$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + hash + "$x"},
		{"huge", "$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + strings.Repeat("A", 300)},
	} {
		t.Run(test.name, func(t *testing.T) {
			ok, err := h.Verify(t.Context(), test.phc, "password")
			if ok || !errors.Is(err, ErrMalformed) {
				t.Fatalf("verify = %t, %v; want ErrMalformed", ok, err)
			}
			if test.phc != "" && strings.Contains(err.Error(), hash[:8]) {
				t.Errorf("%q shows the hash", err)
			}
		})
	}
}

// What is read back must be what was written, and nothing may cost more than
// the bounds: the string may come from somebody else.
func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add(newHasher(f).newPHC("x").String())
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$$")
	f.Fuzz(func(t *testing.T, s string) {
		parsed, err := parsePHC(s)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error %v is not ErrMalformed", err)
			}
			return
		}
		if got := parsed.String(); got != s {
			t.Errorf("%q was read as %q", s, got)
		}
		if err := parsed.params.bounded(); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	h := newHasher(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Hash(b.Context(), "correct horse battery staple"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHashParallel(b *testing.B) {
	h := newHasher(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := h.Hash(b.Context(), "correct horse battery staple"); err != nil {
				b.Error(err)
			}
		}
	})
}
