package enrolment

import (
	"errors"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/account"
)

func TestNewCode(t *testing.T) {
	seen := map[Code]bool{}
	for range 1000 {
		code := NewCode()
		if seen[code] {
			t.Fatalf("%s was made twice", code)
		}
		seen[code] = true
		if len(code.String()) != len("7Q4F-K2MT-9WXE-0RBC-5") {
			t.Fatalf("%s is not in groups of four", code)
		}
		got, err := ParseCode(code.String())
		if err != nil || got != code {
			t.Fatalf("%s is read as %s, %v", code, got, err)
		}
	}
}

// TestEveryTypingError holds that the check character finds every single wrong
// character and every exchange of two, at all 17 places and for all characters. The
// check is linear, so the words that are changed do not matter; some are tried.
func TestEveryTypingError(t *testing.T) {
	for range 20 {
		code := []byte(NewCode())
		for i := range code {
			for _, wrong := range []byte(alphabet) {
				changed := append([]byte{}, code...)
				changed[i] = wrong
				if _, err := ParseCode(string(changed)); (err == nil) != (wrong == code[i]) {
					t.Fatalf("%s with %c at %d: %v", code, wrong, i, err)
				}
			}
		}
	}
	for i := range codeLength {
		for j := range i {
			for _, a := range []byte(alphabet) {
				for _, b := range []byte(alphabet) {
					code := withPair(j, a, i, b)
					code[i], code[j] = code[j], code[i]
					if _, err := ParseCode(string(code)); (err == nil) != (a == b) {
						t.Fatalf("%s with %d and %d exchanged: %v", code, i, j, err)
					}
				}
			}
		}
	}
}

// withPair returns a code with two characters at two places, one of the other
// places making it valid.
func withPair(i int, a byte, j int, b byte) []byte {
	free := 0
	for free == i || free == j {
		free++
	}
	code := []byte(strings.Repeat("0", codeLength))
	code[i], code[j] = a, b
	for _, c := range []byte(alphabet) {
		code[free] = c
		if remainder(string(code)) == 0 {
			break
		}
	}
	return code
}

func TestParseCode(t *testing.T) {
	const body = "1000000000000000"
	check := string(alphabet[double(remainder(body))])
	for _, tt := range []struct{ name, typed, reason string }{
		{"as printed", "1000-0000-0000-0000-" + check, ""},
		{"without dashes", "1000000000000000" + check, ""},
		{"lower case, o for 0, l for 1", "looo-oooo-oooo-oooo-" + strings.ToLower(check), ""},
		{"O for 0, I for 1", "IOOO-OOOO-OOOO-OOOO-" + check, ""},
		{"spaces and other dashes", " 1000 0000\u00a00000\u20130000\u2011" + check + "\r\n", ""},
		{"nothing", "", "must have 17 letters and digits"},
		{"dashes alone", "----", "must have 17 letters and digits"},
		{"too short", "1000-0000-0000-0000", "must have 17 letters and digits"},
		{"too long", "1000-0000-0000-0000-" + check + "0", "must have 17 letters and digits"},
		{"a U", "U000-0000-0000-0000-" + check, "has a character that no code has"},
		{"not ASCII", "１000-0000-0000-0000-" + check, "has a character that no code has"},
		{"not UTF-8", "\xff000-0000-0000-0000-" + check, "has a character that no code has"},
		{"an ſ, which is S in upper case", "ſ000-0000-0000-0000-" + check, "has a typing error"},
		{"NUL", "\x00000-0000-0000-0000-" + check, "has a character that no code has"},
		{"a wrong character", "1000-0000-0000-0001-" + check, "has a typing error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseCode(tt.typed)
			if tt.reason == "" {
				if err != nil || got != Code(body+check) {
					t.Errorf("= %q, %v", got, err)
				}
				return
			}
			var invalid *account.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != "code" || !strings.HasPrefix(invalid.Reason, tt.reason) {
				t.Errorf("= %v, want code: %s", err, tt.reason)
			}
		})
	}
}

// TestHash pins what is stored: codes that are out there must go on working.
func TestHash(t *testing.T) {
	code, err := ParseCode("0123-4567-89AB-CDEF-P")
	if err != nil {
		t.Fatal(err)
	}
	if got := code.Hash(); got != "54e398fe435d9332e8dda50c4afbc3491d350a6c0827d68da7c43af76fa4b779" {
		t.Errorf("hash = %s", got)
	}
}

func TestCheckCustomer(t *testing.T) {
	for reference, good := range map[string]bool{
		"C-10042": true, "0": true, "DE.4711/2026:a#7": true, "ada@bank.example": true, "a+b": true, strings.Repeat("x", MaxCustomer): true,
		"": false, strings.Repeat("x", MaxCustomer+1): false, " C-1": false, "C 1": false, "C-1-": false, "-C1": false, "=1+1": false,
		"a--b": false, "Zoë": false, "a\x00b": false, "a\n": false, "a,b": false, "a;b": false, "\xff": false, "\ufeffC-1": false,
	} {
		if err := CheckCustomer(reference); (err == nil) != good {
			t.Errorf("%q: %v", reference, err)
		}
	}
}

func FuzzParseCode(f *testing.F) {
	f.Add(NewCode().String())
	f.Fuzz(func(t *testing.T, text string) {
		code, err := ParseCode(text)
		if err != nil {
			return
		}
		if again, err := ParseCode(code.String()); err != nil || again != code {
			t.Errorf("%q is read as %s, and that as %s, %v", text, code, again, err)
		}
	})
}
