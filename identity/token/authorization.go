package token

import (
	"fmt"
	"strings"
)

// ParseAuthorization returns the token of an Authorization header's value: the
// scheme Bearer in any case (RFC 9110 section 11.1), one or more spaces
// (section 11.4) and a b64token (RFC 6750 section 2.1) with nothing after it.
//
// The error is ErrNoToken when header is empty or names another scheme, and
// ErrMalformed when the scheme is Bearer but the rest is anything else.
func ParseAuthorization(header string) (raw string, err error) {
	const scheme = "bearer"
	if strings.HasPrefix(header, " ") || strings.HasPrefix(header, "\t") {
		return "", fmt.Errorf("%w: Authorization starts with white space", ErrMalformed)
	}
	if len(header) < len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return "", ErrNoToken
	}
	rest := header[len(scheme):]
	raw = strings.TrimLeft(rest, " ")
	if len(raw) == len(rest) {
		return "", fmt.Errorf("%w: no space after Bearer", ErrMalformed)
	}
	if !isB64Token(raw) {
		return "", fmt.Errorf("%w: not one b64token after Bearer", ErrMalformed)
	}
	return raw, nil
}

// isB64Token reports whether s is a b64token: at least one character of the
// token alphabet, then any number of "=".
func isB64Token(s string) bool {
	for s != "" && s[len(s)-1] == '=' {
		s = s[:len(s)-1]
	}
	for i := range len(s) {
		if !b64TokenChar[s[i]] {
			return false
		}
	}
	return s != ""
}

// b64TokenChar has the characters of a b64token. A table, because every
// character of every request's token is looked up.
var b64TokenChar = func() (table [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/") {
		table[c] = true
	}
	return table
}()
