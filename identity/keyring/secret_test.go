package keyring_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/keyring"
)

func TestLoadSecret(t *testing.T) {
	want := secret(0xfb) // "-" and "+" differ between the alphabets of base64
	for name, text := range map[string]string{
		"hex":                    hex.EncodeToString(want[:]),
		"hex in capitals":        strings.ToUpper(hex.EncodeToString(want[:])),
		"hex and a line break":   hex.EncodeToString(want[:]) + "\n",
		"base64":                 base64.StdEncoding.EncodeToString(want[:]) + "\r\n",
		"base64 without padding": base64.RawStdEncoding.EncodeToString(want[:]),
		"base64url":              " " + base64.URLEncoding.EncodeToString(want[:]),
		"base64url, no padding":  base64.RawURLEncoding.EncodeToString(want[:]),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := keyring.LoadSecret(write(t, text))
			if err != nil || got != want {
				t.Errorf("LoadSecret = %x, %v; want %x", got, err, want)
			}
		})
	}
}

func TestLoadSecretRefuses(t *testing.T) {
	good := hex.EncodeToString(make([]byte, 32))
	for name, text := range map[string]string{
		"empty":                "",
		"a short one":          good[:62],
		"a long one":           good + "00",
		"two lines":            good[:32] + "\n" + good[32:],
		"two secrets":          good + "\n" + good,
		"raw bytes":            "\x00\x01\x02\x03" + strings.Repeat("\xff", 28),
		"32 characters":        strings.Repeat("x", 32),
		"a huge file":          strings.Repeat(" ", 1<<20) + good,
		"48 bytes of base64":   base64.StdEncoding.EncodeToString(make([]byte, 48)) + "=",
		"altered base64 bits":  strings.Repeat("A", 42) + "B=",
		"a passphrase":         "correct horse battery staple",
		"hex with a 0x before": "0x" + good,
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, text)
			got, err := keyring.LoadSecret(path)
			if err == nil || got != [keyring.SecretSize]byte{} {
				t.Fatalf("LoadSecret = %x, %v; want an error", got, err)
			}
			wantHelp(t, err, path)
			if s := strings.TrimSpace(text); len(s) > 3 && strings.Contains(err.Error(), s) {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "missing")
		_, err := keyring.LoadSecret(path)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("LoadSecret = %v, want ErrNotExist", err)
		}
		wantHelp(t, err, path)
	})
	t.Run("a folder", func(t *testing.T) {
		path := t.TempDir()
		_, err := keyring.LoadSecret(path)
		if err == nil {
			t.Fatal("no error")
		}
		wantHelp(t, err, path)
	})
}

func wantHelp(t *testing.T, err error, path string) {
	t.Helper()
	if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "openssl rand -hex 32") {
		t.Errorf("error %q does not name the file and how to make one", err)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
