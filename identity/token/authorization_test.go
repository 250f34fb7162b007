package token_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/token"
)

func TestParseAuthorization(t *testing.T) {
	tests := []struct {
		name, header, want string
		err                error
	}{
		{"a token", "Bearer abc.def.ghi", "abc.def.ghi", nil},
		{"lower case", "bearer abc", "abc", nil},
		{"capitals", "BEARER abc", "abc", nil},
		{"two spaces", "Bearer  abc", "abc", nil},
		{"the whole alphabet", "Bearer azAZ09-._~+/==", "azAZ09-._~+/==", nil},
		{"nothing", "", "", token.ErrNoToken},
		{"another scheme", "Basic dXNlcjpwYXNz", "", token.ErrNoToken},
		{"a shorter scheme", "Bear abc", "", token.ErrNoToken},
		{"the token alone", "abc.def.ghi", "", token.ErrNoToken},
		{"the scheme alone", "Bearer", "", token.ErrMalformed},
		{"the scheme and a space", "Bearer ", "", token.ErrMalformed},
		{"no space", "Bearerabc", "", token.ErrMalformed},
		{"a colon", "Bearer:abc", "", token.ErrMalformed},
		{"a tab", "Bearer\tabc", "", token.ErrMalformed},
		{"a space and a tab", "Bearer \tabc", "", token.ErrMalformed},
		{"a space after", "Bearer abc ", "", token.ErrMalformed},
		{"a space before", " Bearer abc", "", token.ErrMalformed},
		{"a tab before", "\tBearer abc", "", token.ErrMalformed},
		{"two words", "Bearer abc def", "", token.ErrMalformed},
		{"two schemes", "Bearer Bearer abc", "", token.ErrMalformed},
		{"a list", "Bearer abc, Bearer def", "", token.ErrMalformed},
		{"a parameter", `Bearer token="abc"`, "", token.ErrMalformed},
		{"quotes", `Bearer "abc"`, "", token.ErrMalformed},
		{"padding alone", "Bearer ==", "", token.ErrMalformed},
		{"padding within", "Bearer a=b", "", token.ErrMalformed},
		{"a line break", "Bearer abc\n", "", token.ErrMalformed},
		{"NUL", "Bearer abc\x00", "", token.ErrMalformed},
		{"non-ASCII", "Bearer abcé", "", token.ErrMalformed},
		{"a byte that is not UTF-8", "Bearer abc\xff", "", token.ErrMalformed},
		{"a no-break space", "Bearer\u00a0abc", "", token.ErrMalformed},
		{"a Kelvin sign is no k", "Bearer \u212a", "", token.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw, err := token.ParseAuthorization(tt.header)
			if raw != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("ParseAuthorization = %q, %v; want %q, %v", raw, err, tt.want, tt.err)
			}
		})
	}
}

func FuzzParseAuthorization(f *testing.F) {
	for _, seed := range []string{"", "Bearer abc", "bearer  a.b.c==", "Basic x", "Bearer\t", "Bearer a b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		raw, err := token.ParseAuthorization(header)
		if (err == nil) == (raw == "") {
			t.Fatalf("ParseAuthorization = %q, %v", raw, err)
		}
		if err == nil && (!strings.HasSuffix(header, " "+raw) || strings.ContainsAny(raw, " \t\r\n,;\"")) {
			t.Fatalf("ParseAuthorization(%q) = %q", header, raw)
		}
	})
}
