package token

import (
	"fmt"
	"strings"
)

// algorithm is the one signature algorithm that is accepted, spelled exactly so
// (RFC 8037 section 3.1, RFC 8725 section 3.1).
const algorithm = "EdDSA"

// The media type of an access token, as it is written and as it is also
// accepted (RFC 9068 section 2.1).
const (
	shortType = "at+jwt"
	longType  = "application/at+jwt"
)

// refusedParameters are header parameters that no token of ours carries and
// that a verifier must not follow: critical extensions (RFC 7515 section
// 4.1.11), an unencoded payload (RFC 7797 section 7), and every way to name a
// key other than kid (RFC 8725 section 3.10).
var refusedParameters = [...]string{"crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"}

// parseHeader checks a JOSE header and returns its kid. Unknown parameters are
// ignored, as RFC 7515 section 4 demands.
func parseHeader(data []byte) (kid string, err error) {
	header, err := parseObject(data)
	if err != nil {
		return "", fmt.Errorf("%w: header: %w", ErrMalformed, err)
	}
	if alg, ok := header.text("alg"); !ok || alg != algorithm {
		return "", ErrAlgorithm
	}
	if typ, ok := header.text("typ"); !ok || !isAccessTokenType(typ) {
		return "", ErrType
	}
	for _, name := range refusedParameters {
		if _, ok := header[name]; ok {
			return "", fmt.Errorf("%w: header has a %s", ErrMalformed, name)
		}
	}
	kid, ok := header.text("kid")
	if !ok {
		return "", fmt.Errorf("%w: header has no kid", ErrMalformed)
	}
	return kid, nil
}

// isAccessTokenType compares media types without regard to case (RFC 7515
// section 4.1.9, RFC 2045 section 5.1).
func isAccessTokenType(typ string) bool {
	return strings.EqualFold(typ, shortType) || strings.EqualFold(typ, longType)
}
