package httpapi_test

import (
	"net/http"
	"testing"
)

func TestUserIfNoneMatch(t *testing.T) {
	s := start(t)
	alice, bob := s.register(t, "alice"), s.register(t, "bob")
	raw := s.token(t, alice)
	tag := s.get(t, "/users/"+alice, bearer(raw)).header.Get("ETag")
	if len(tag) < 10 || tag[0] != '"' || tag == s.get(t, "/users/"+bob, bearer(s.token(t, bob))).header.Get("ETag") {
		t.Fatalf("ETag %q is none, or everybody's", tag)
	}
	cases := map[string]struct {
		lines  []string
		status int
	}{
		"same":          {[]string{tag}, 304},
		"weak":          {[]string{"W/" + tag}, 304},
		"in a list":     {[]string{`"x", ` + tag + `,"y"`}, 304},
		"in two lines":  {[]string{`"x"`, tag}, 304},
		"any":           {[]string{"*"}, 304},
		"another":       {[]string{`"x"`}, 200},
		"without quote": {[]string{tag[1 : len(tag)-1]}, 200},
		"empty":         {[]string{""}, 200},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			options := []option{bearer(raw)}
			for _, line := range c.lines {
				options = append(options, header("If-None-Match", line))
			}
			got := s.get(t, "/users/"+alice, options...)
			if got.status != c.status || (got.body == "") != (c.status == 304) {
				t.Errorf("%d %q, want %d", got.status, got.body, c.status)
			}
			if got.header.Get("ETag") != tag || got.header.Get("Cache-Control") != "private, no-cache" {
				t.Errorf("headers %v", got.header)
			}
			if c.status == http.StatusNotModified && got.header.Get("Content-Type") != "" {
				t.Errorf("a 304 with the type %q", got.header.Get("Content-Type"))
			}
		})
	}
	// Whoever may not read it is not told that it is still right.
	if got := s.get(t, "/users/"+bob, bearer(raw), header("If-None-Match", "*")); got.status != 404 {
		t.Errorf("somebody else's: %d", got.status)
	}
	if got := s.get(t, "/users/"+alice, header("If-None-Match", tag)); got.status != 401 {
		t.Errorf("without a token: %d", got.status)
	}
}
