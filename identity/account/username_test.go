package account

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestCanonical(t *testing.T) {
	for _, test := range []struct{ name, username, want string }{
		{"lower case", "alice", "alice"},
		{"upper case", "Alice", "alice"},
		{"full width", "ａｌｉｃｅ", "alice"},
		{"digits and punctuation", "a.b-c_1", "a.b-c_1"},
		{"an e-mail address", "Alice@Example.org", "alice@example.org"},
		{"composed", "Zo\u00eb", "zo\u00eb"},
		{"decomposed", "Zoe\u0308", "zo\u00eb"},
		{"German", "Straße", "straße"},
		{"Greek in capitals", "ΟΔΥΣΣΕΥΣ", "οδυσσευσ"},
		{"Greek with a final sigma", "Οδυσσευς", "οδυσσευσ"},
		{"Turkish", "İrem", "irem"},
		{"Azerbaijani", "\u018fhm\u0259d", "\u0259hm\u0259d"},
		{"Ewe", "K\u0254\u0257z\u025b", "k\u0254\u0257z\u025b"},
		{"Turkish, decomposed", "I\u0307rem", "irem"},
		{"Turkish with an accent", "İ\u0301rem", "\u00edrem"},
		{"Turkish without a dot", "Irmak", "irmak"},
		{"a dot above where there is none", "z\u0307elia", "\u017celia"},
		{"Cyrillic", "Анна", "анна"},
		{"Hebrew", "שרה", "שרה"},
		{"Arabic with Arabic digits", "سارة١", "سارة١"},
		{"Chinese", "李小龍", "李小龍"},
		{"Japanese", "さくらサクラ桜x", "さくらサクラ桜x"},
		{"Korean with Latin", "김지수kim", "김지수kim"},
		{"Devanagari", "प्रिया", "प्रिया"},
		{"three characters", "abc", "abc"},
		{"64 characters", strings.Repeat("é", 64), strings.Repeat("é", 64)},
		{"64 characters, decomposed", strings.Repeat("e\u0301", 64), strings.Repeat("é", 64)},
		{"looks like a number", "007", "007"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := Canonical(test.username); got != test.want || err != nil {
				t.Errorf("canonical %q = %q, %v; want %q", test.username, got, err, test.want)
			}
		})
	}
}

func TestCanonicalRefuses(t *testing.T) {
	for _, test := range []struct{ name, username, reason string }{
		{"empty", "", "3 to 64"},
		{"two characters", "ab", "3 to 64"},
		{"two characters, decomposed", "e\u0301e\u0301", "3 to 64"},
		{"65 characters", strings.Repeat("a", 65), "3 to 64"},
		{"one megabyte", strings.Repeat("a", 1<<20), "too long"},
		{"NUL", "ali\x00ce", "control"},
		{"NUL at the end", "alice\x00", "control"},
		{"line break", "alice\n", "control"},
		{"tab", "ali\tce", "control"},
		{"C1 control", "ali\u0085ce", "control"},
		{"invalid UTF-8", "ali\xffce", "UTF-8"},
		{"truncated UTF-8", "alice\xc3", "UTF-8"},
		{"a surrogate in UTF-8", "alice\xed\xa0\x80", "UTF-8"},
		{"space", "alice smith", "spaces"},
		{"space at the end", "alice ", "spaces"},
		{"no-break space", "alice\u00a0smith", "spaces"},
		{"ideographic space", "alice\u3000smith", "spaces"},
		{"zero width space", "ali\u200bce", "not allowed"},
		{"zero width joiner", "ali\u200dce", "not allowed"},
		{"byte order mark", "\ufeffalice", "not allowed"},
		{"soft hyphen", "ali\u00adce", "not allowed"},
		{"right-to-left override", "ali\u202ece", "not allowed"},
		{"emoji", "alice😀", "not allowed"},
		{"ligature", "\ufb01nance", "not allowed"},
		{"Roman numeral", "henry\u2167", "not allowed"},
		{"unassigned", "alice\U000E0FFF", "not allowed"},
		{"private use", "alice\ue000", "not allowed"},
		{"noncharacter", "alice\ufffe", "not allowed"},
		{"both directions", "aliceשרה", "not allowed"},
		{"Cyrillic а among Latin", "p\u0430ypal", "scripts"},
		{"Greek ο among Latin", "g\u03bfogle", "scripts"},
		{"Greek among Cyrillic", "аннα", "scripts"},
		{"a second dot on i", "i\u0307rem", "dot"},
		{"a second dot on İ", "İ\u0307rem", "dot"},
		{"a dot on a dotless i", "\u0131\u0307rem", "dot"},
		{"a dot on j", "j\u0307ane", "dot"},
		{"a dot on i, another mark between", "i\u0331\u0307rem", "dot"},
		{"a dot on a Cyrillic і", "\u0456\u0307\u0433\u043e", "dot"},
		{"Latin alpha", "\u0251lice", "phonetic"},
		{"Latin script g", "\u0261oogle", "phonetic"},
		{"small capital o", "g\u1d0f\u1d0fgle", "phonetic"},
		{"small capital s", "\ua731am", "phonetic"},
		{"dental click", "a\u01c0ice", "phonetic"},
		{"Hangul among Kana", "さくら김", "scripts"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Canonical(test.username)
			var invalid *InvalidError
			if !errors.As(err, &invalid) || got != "" {
				t.Fatalf("canonical = %q, %v; want an InvalidError", got, err)
			}
			if invalid.Field != "username" || !strings.Contains(invalid.Reason, test.reason) {
				t.Errorf("%q does not say %q of the username", err, test.reason)
			}
		})
	}
}

// Every code point alone, so that none slips in that no name should have.
func TestCanonicalOfEveryCodePoint(t *testing.T) {
	allowed := 0
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if r >= 0xD800 && r <= 0xDFFF {
			continue
		}
		canonical, err := Canonical("aa" + string(r))
		if err != nil {
			continue
		}
		allowed++
		if unicode.IsControl(r) || unicode.IsSpace(r) || unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs, unicode.So, unicode.Bidi_Control, unicode.White_Space) {
			t.Errorf("%U is allowed", r)
		}
		if strings.ContainsFunc(canonical, unicode.IsUpper) {
			t.Errorf("%U stays upper case: %q", r, canonical)
		}
	}
	if allowed < 26+26+10 {
		t.Errorf("only %d code points are allowed after Latin letters", allowed)
	}
}

func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{"Alice", "ａｌｉｃｅ", "Zoe\u0308", "İrem", "i\u0307\u0301rem", "I\u0307\u0301rem", "ΟΔΥΣΣΕΥς", "p\u0430ypal", "שרה", "李小龍", "ali\x00ce", "ali\xffce", "a\u200db", "\u1f88\u0345abc", "\u13a0\uab70x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, username string) {
		canonical, err := Canonical(username)
		if err != nil {
			var invalid *InvalidError
			if !errors.As(err, &invalid) || canonical != "" {
				t.Fatalf("canonical = %q, %v", canonical, err)
			}
			if len(username) > 40 && strings.Contains(err.Error(), username) {
				t.Errorf("%q shows the name", err)
			}
			return
		}
		if n := utf8.RuneCountInString(canonical); n < MinUsername || n > MaxUsername || !utf8.ValidString(canonical) {
			t.Errorf("%q has %d code points", canonical, n)
		}
		if again, err := Canonical(canonical); again != canonical || err != nil {
			t.Errorf("canonical of the canonical %q = %q, %v", canonical, again, err)
		}
		if mixesScripts(canonical) || strings.ContainsFunc(canonical, unicode.IsSpace) || strings.ContainsFunc(canonical, unicode.IsControl) {
			t.Errorf("%q was allowed", canonical)
		}
	})
}
