package account

import (
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

// The length of a password, in code points of its normalised form. NIST
// SP 800-63B asks for at least 8, recommends 15 where a password is all there
// is, and wants no rules about which characters to use.
const (
	MinPassword = 8
	MaxPassword = 128
)

// maxPasswordBytes bounds what is normalised, as maxUsernameBytes does.
const maxPasswordBytes = MaxPassword * 12

// normalise returns the form of a password that is hashed: the PRECIS profile
// OpaqueString (RFC 8265 section 4.2), so that one password typed on two
// keyboards, composed or not, is one. shortest is in code points.
func normalise(password string, shortest int) (string, error) {
	if reason := unfit(password, maxPasswordBytes); reason != "" {
		return "", invalidPassword(reason)
	}
	if password == "" {
		return "", invalidPassword(lengthReason(shortest, MaxPassword))
	}
	normal, err := precis.OpaqueString.String(password)
	if err != nil {
		return "", invalidPassword("contains a character that is not allowed; use letters, digits, symbols and spaces")
	}
	if n := utf8.RuneCountInString(normal); n < shortest || n > MaxPassword {
		return "", invalidPassword(lengthReason(shortest, MaxPassword))
	}
	return normal, nil
}

func invalidPassword(reason string) error {
	return &InvalidError{Field: "password", Reason: reason}
}
