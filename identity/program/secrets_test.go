package program_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/program"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSecret(t *testing.T) {
	tests := []struct {
		name, text, want, wantErr string
	}{
		{"plain", "hunter2", "hunter2", ""},
		{"line break", "hunter2\n", "hunter2", ""},
		{"line break of Windows", "hunter2\r\n", "hunter2", ""},
		{"spaces are part of it", " hunter 2 \n", " hunter 2 ", ""},
		{"line breaks", "hunter2\r\n\n", "hunter2", ""},
		{"line breaks within are part of it", "hunter\n2", "hunter\n2", ""},
		{"the most", strings.Repeat("x", program.MaxFile), strings.Repeat("x", program.MaxFile), ""},
		{"too large", "hunter2" + strings.Repeat("x", program.MaxFile), "", "is over"},
		{"empty", "", "", "is empty"},
		{"a line break alone", "\r\n", "", "is empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.text)
			got, err := program.Secret(path)
			if got != tt.want || (err != nil) != (tt.wantErr != "") {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
			if err != nil && (!strings.Contains(err.Error(), path+" "+tt.wantErr) || strings.Contains(err.Error(), "hunter2")) {
				t.Errorf("error %q", err)
			}
		})
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	missing, folder := filepath.Join(t.TempDir(), "missing"), t.TempDir()
	for name, path := range map[string]string{"missing": missing, "a folder": folder, "no name": ""} {
		_, readErr := program.Secret(path)
		_, authoritiesErr := program.Authorities(path)
		for _, err := range []error{readErr, authoritiesErr} {
			var refused *fs.PathError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestAuthoritiesWithoutACertificate(t *testing.T) {
	path := write(t, "hunter2")
	pool, err := program.Authorities(path)
	if pool != nil || err == nil || !strings.Contains(err.Error(), path+" holds no PEM certificate") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v, %v", pool, err)
	}
}
