package keyring

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// SecretSize is the size in bytes of the secret that seals keys.
const SecretSize = 32

// maxSecretFile bounds what is read of a secret file, in bytes.
const maxSecretFile = 1 << 10

// LoadSecret reads the secret from a text file: 32 random bytes as 64 hex digits
// or as base64, with white space around it or not. The error names the file and
// says how to make one; it never holds what the file does.
func LoadSecret(path string) ([SecretSize]byte, error) {
	secret, err := readSecret(path)
	if err != nil {
		return secret, fmt.Errorf("key secret file %q: %w (make one: openssl rand -hex 32 > %s)", path, err, path)
	}
	return secret, nil
}

func readSecret(path string) (secret [SecretSize]byte, err error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return secret, fmt.Errorf("open: %w", unwrapPath(err))
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile))
	if err != nil {
		return secret, fmt.Errorf("read: %w", unwrapPath(err))
	}
	data, ok := decodeSecret(strings.TrimSpace(string(text)))
	if !ok {
		return secret, fmt.Errorf("does not hold %d bytes as hex or base64 text", SecretSize)
	}
	return [SecretSize]byte(data), nil
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

// unwrapPath takes the path out of an error that is about to name it anyway.
func unwrapPath(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
