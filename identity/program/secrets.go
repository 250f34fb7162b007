package program

import (
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"
)

// MaxFile is the largest file, in bytes, that Secret and Authorities read.
const MaxFile = 1 << 20

// Secret returns the text of a file: a password, a key, a URL with a password.
// Line breaks at its end, which editors and echo add, are left out. An empty
// file is an error. Errors name the file and never hold anything of it.
func Secret(path string) (string, error) {
	data, err := readFile(path)
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return text, nil
}

// Authorities returns the certificates in a PEM file, those of the authorities
// that an operator trusts. None at all is an error.
func Authorities(path string) (*x509.CertPool, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no PEM certificate", path)
	}
	return pool, nil
}

// readFile returns what a file holds. The error is an *fs.PathError where the
// system refuses.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // G304: the operator names the file
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("%s is over %d bytes", path, MaxFile)
	}
	return data, nil
}
