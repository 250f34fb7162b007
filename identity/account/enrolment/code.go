package enrolment

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"strings"
	"unicode"

	"github.com/earlybird/earlybird/identity/account"
)

// Code is an enrolment code: 16 characters that hold 80 random bits, and a check
// character, in upper case. Whoever holds it may register, so it is never logged,
// and stored only as its Hash.
type Code string

// alphabet is Crockford's base32: without I, L, O and U. The check character is of
// the same 32, not of Crockford's 37.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

var encoding = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)

const (
	codeLength = 17
	groupSize  = 4
)

// NewCode returns a code that nobody can guess.
func NewCode() Code {
	var bits [10]byte
	rand.Read(bits[:]) // never fails
	text := encoding.EncodeToString(bits[:])
	return Code(text + string(alphabet[double(remainder(text))]))
}

// lookalike maps what people type for the characters of the alphabet, as
// Crockford says.
var lookalike = strings.NewReplacer("I", "1", "L", "1", "O", "0")

// ParseCode reads a code as a person types it: in any case, with dashes and spaces
// anywhere, with I and L for 1 and O for 0. It fails with an *account.InvalidError,
// which does not hold the text, and then nothing needs to be looked up.
func ParseCode(text string) (Code, error) {
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) {
			return -1
		}
		return r
	}, text)
	text = lookalike.Replace(strings.ToUpper(text))
	switch {
	case strings.Trim(text, alphabet) != "":
		return "", invalidCode("has a character that no code has; a code is made of letters and digits, without U")
	case len(text) != codeLength:
		return "", invalidCode("must have 17 letters and digits, in groups of four")
	case remainder(text) != 0:
		return "", invalidCode("has a typing error; compare it with what you were sent")
	}
	return Code(text), nil
}

func invalidCode(reason string) error {
	return &account.InvalidError{Field: "code", Reason: reason}
}

// String is the code as it is printed, in groups of four.
func (c Code) String() string {
	var b strings.Builder
	for i := range len(c) {
		if i > 0 && i%groupSize == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(c[i])
	}
	return b.String()
}

// Hash is what is stored of a code: its SHA-256 in hex.
func (c Code) Hash() string {
	sum := sha256.Sum256([]byte(c))
	return hex.EncodeToString(sum[:])
}

// remainder reads text as a polynomial over GF(32), the first character being the
// highest coefficient, and evaluates it at x, a primitive element. It is 0 for a
// code with its check character. The powers of x at the 17 places are all different,
// so any one wrong character changes the remainder, and so does any two exchanged.
func remainder(text string) byte {
	var r byte
	for i := range len(text) {
		r = double(r) ^ byte(strings.IndexByte(alphabet, text[i])) //nolint:gosec // below 32: the caller has checked the characters
	}
	return r
}

// double multiplies by x in GF(32), modulo the primitive polynomial x^5+x^2+1.
func double(v byte) byte {
	v <<= 1
	if v&0b100000 != 0 {
		v ^= 0b100101
	}
	return v
}
