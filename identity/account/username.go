package account

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

// The length of a username, in code points of its canonical form.
const (
	MinUsername = 3
	MaxUsername = 64
)

// maxUsernameBytes bounds what is looked at: a code point of the canonical
// form comes from four decomposed ones of three bytes at most.
const maxUsernameBytes = MaxUsername * 12

// Canonical returns the form of a username that is unique: the PRECIS profile
// UsernameCaseMapped (RFC 8265 section 3.3), under which Alice, alice and the
// full-width form are one name. It refuses with an *InvalidError and never
// drops a character, so nobody gets another name than they typed.
//
// Beyond that the two forms of the Greek sigma are one letter, and so are the
// Turkish İ and i: typed in capitals, a name would else be another one.
//
// A name that mixes scripts is refused unless languages do so (UTS 39
// section 5.2, Highly Restrictive): a Cyrillic а in a Latin name fools people.
// So do a dot on a letter that has one, and phonetic letters (ɡ, ᴏ).
func Canonical(username string) (string, error) {
	if reason := unfit(username, maxUsernameBytes); reason != "" {
		return "", invalidUsername(reason)
	}
	if strings.ContainsFunc(username, unicode.IsSpace) {
		return "", invalidUsername("must not contain spaces")
	}
	canonical, err := precis.UsernameCaseMapped.String(oneLetter.Replace(username))
	if err != nil {
		return "", invalidUsername("contains a character that is not allowed; use letters, digits and ASCII punctuation, left to right or right to left but not both")
	}
	if n := utf8.RuneCountInString(canonical); n < MinUsername || n > MaxUsername {
		return "", invalidUsername(lengthReason(MinUsername, MaxUsername))
	}
	if mixesScripts(canonical) {
		return "", invalidUsername("mixes letters of different scripts; use the letters of one")
	}
	if strings.ContainsFunc(canonical, func(r rune) bool { return unicode.Is(phonetic, r) }) {
		return "", invalidUsername("contains a letter of phonetic notation; use the letter that it looks like")
	}
	if hidesDot(canonical) {
		return "", invalidUsername("has a dot that cannot be seen on its letter; leave it out")
	}
	return canonical, nil
}

// CanonicalPrefix returns the canonical form of the beginning of a username, which
// may be shorter than a whole one, or empty.
func CanonicalPrefix(prefix string) (string, error) {
	if prefix == "" {
		return "", nil
	}
	if reason := unfit(prefix, maxUsernameBytes); reason != "" {
		return "", &InvalidError{Field: "prefix", Reason: reason}
	}
	canonical, err := precis.UsernameCaseMapped.String(oneLetter.Replace(prefix))
	if err != nil {
		return "", &InvalidError{Field: "prefix", Reason: "contains a character that no username has"}
	}
	return canonical, nil
}

// oneLetter maps what the lower case of PRECIS would leave as two: the final
// sigma, whose capital is that of the other, and İ, which would become an i with
// a second dot.
var oneLetter = strings.NewReplacer("ς", "σ", "İ", "i", "I\u0307", "i")

// phonetic are Latin letters of phonetic notation, of the script of the letters
// they look like, that no name is written with (UTS 39 section 3.1, technical):
// ɑ and ɡ, the clicks, small capitals, and what has the name phonetic.
var phonetic = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x01c0, Hi: 0x01c3, Stride: 1},
		{Lo: 0x0251, Hi: 0x0261, Stride: 0x10},
		{Lo: 0x1d00, Hi: 0x1dbf, Stride: 1},
		{Lo: 0xa730, Hi: 0xa731, Stride: 1},
	},
}

// hidesDot reports whether a combining dot above (U+0307) stands on a letter that
// is drawn with a dot anyway, or like one that is (UTS 39 section 5.4).
func hidesDot(name string) bool {
	base := rune(0)
	for _, r := range name {
		switch {
		case r == '\u0307' && (unicode.Is(unicode.Soft_Dotted, base) || strings.ContainsRune("ıȷl", base)):
			return true
		case !unicode.Is(unicode.M, r):
			base = r
		}
	}
	return false
}

func invalidUsername(reason string) error {
	return &InvalidError{Field: "username", Reason: reason}
}

func lengthReason(shortest, longest int) string {
	return fmt.Sprintf("must have %d to %d characters", shortest, longest)
}

// unfit says why text cannot even be looked at, or "": PRECIS would refuse it
// as well, but without a reason that helps.
func unfit(text string, maxBytes int) string {
	switch {
	case len(text) > maxBytes:
		return "is too long"
	case !utf8.ValidString(text):
		return "must be valid UTF-8"
	case strings.ContainsFunc(text, unicode.IsControl):
		return "must not contain control characters such as NUL, tab or a line break"
	}
	return ""
}
