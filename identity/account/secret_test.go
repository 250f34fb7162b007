package account

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNormalise(t *testing.T) {
	for _, test := range []struct{ name, password, want string }{
		{"eight characters", "12345678", "12345678"},
		{"128 characters", strings.Repeat("x", 128), strings.Repeat("x", 128)},
		{"spaces stay", "  correct horse ", "  correct horse "},
		{"case stays", "Correct Horse", "Correct Horse"},
		{"composed", "caf\u00e9 au lait", "caf\u00e9 au lait"},
		{"decomposed", "cafe\u0301 au lait", "caf\u00e9 au lait"},
		{"other spaces become ASCII ones", "correct\u3000horse\u00a0x", "correct horse x"},
		{"width stays", "ｐａｓｓｗｏｒｄ", "ｐａｓｓｗｏｒｄ"},
		{"symbols and emoji", "😀😀😀😀€€€€", "😀😀😀😀€€€€"},
		{"128 decomposed", strings.Repeat("e\u0301", 128), strings.Repeat("é", 128)},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := normalise(test.password, MinPassword); got != test.want || err != nil {
				t.Errorf("normalise %q = %q, %v; want %q", test.password, got, err, test.want)
			}
		})
	}
}

func TestNormaliseRefuses(t *testing.T) {
	for _, test := range []struct{ name, password, reason string }{
		{"empty", "", "8 to 128"},
		{"seven characters", "hunter2", "8 to 128"},
		{"seven characters, decomposed", strings.Repeat("e\u0301", 7), "8 to 128"},
		{"129 characters", strings.Repeat("x", 129), "8 to 128"},
		{"one megabyte", strings.Repeat("x", 1<<20), "too long"},
		{"NUL", "hunter2\x00hunter2", "control"},
		{"line break", "hunter2hunter2\n", "control"},
		{"invalid UTF-8", "hunter2\xffhunter2", "UTF-8"},
		{"unassigned", "hunter2hunter2\U000E0FFF", "not allowed"},
		{"noncharacter", "hunter2hunter2\ufffe", "not allowed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := normalise(test.password, MinPassword)
			var invalid *InvalidError
			if !errors.As(err, &invalid) || invalid.Field != "password" || !strings.Contains(invalid.Reason, test.reason) {
				t.Fatalf("normalise: %v, want an InvalidError of the password that says %q", err, test.reason)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q shows the password", err)
			}
		})
	}
}

func FuzzNormalise(f *testing.F) {
	for _, seed := range []string{"correct horse", "cafe\u0301 au lait", "\u3000\u3000\u3000\u3000\u3000\u3000\u3000\u3000", "hunter2\x00\xff", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, password string) {
		normal, err := normalise(password, MinPassword)
		if err != nil {
			return
		}
		if n := utf8.RuneCountInString(normal); n < MinPassword || n > MaxPassword {
			t.Errorf("%q has %d code points", normal, n)
		}
		if again, err := normalise(normal, MinPassword); again != normal || err != nil {
			t.Errorf("normalised again, %q is %q, %v", normal, again, err)
		}
	})
}
