package keyring

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/earlybird/earlybird/identity/program"
)

// SecretSize is the size in bytes of the secret that seals keys.
const SecretSize = 32

// LoadSecret reads the secret from a text file: 32 random bytes as 64 hex digits
// or as base64, with white space around it or not. The error names the file and
// says how to make one; it never holds what the file does.
func LoadSecret(path string) ([SecretSize]byte, error) {
	text, err := program.Secret(path)
	if err != nil {
		return [SecretSize]byte{}, unusable(path, err)
	}
	data, ok := decodeSecret(strings.TrimSpace(text))
	if !ok {
		return [SecretSize]byte{}, unusable(path, fmt.Errorf("%s does not hold %d bytes as hex or base64 text", path, SecretSize))
	}
	return [SecretSize]byte(data), nil
}

func unusable(path string, err error) error {
	return fmt.Errorf("key secret file: %w (make one: openssl rand -hex 32 > %s)", err, path)
}

// decodeSecret tells hex from base64 by what comes out: 64 hex digits are 48
// bytes of base64, so that at most one of them gives 32.
func decodeSecret(text string) ([]byte, bool) {
	if data, err := hex.DecodeString(text); err == nil && len(data) == SecretSize {
		return data, true
	}
	for _, encoding := range []*base64.Encoding{
		base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding,
	} {
		if data, err := encoding.Strict().DecodeString(text); err == nil && len(data) == SecretSize {
			return data, true
		}
	}
	return nil, false
}
