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
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		if !isB64TokenChar(s[i]) {
			return false
		}
	}
	return s != ""
}

func isB64TokenChar(c byte) bool {
	switch {
	case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("-._~+/", c) >= 0
}
