package settings_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/plugin/schema"
	"github.com/earlybird/earlybird/plugin/settings"
)

func TestSchemasAcceptTheirOwnDefaults(t *testing.T) {
	given := map[string]any{"issuer": "https://e.example", "jwks_url": "http://i:8081/.well-known/jwks.json", "redis_url": "{vault://env/earlybird-redis-url}"}
	for name, s := range settings.Schemas() {
		if s.Name != name {
			t.Errorf("schema of %s is named %s", name, s.Name)
		}
		if faults := schema.Validate(s, given); faults != nil {
			t.Errorf("%s: %v", name, faults)
		}
		if faults := schema.Validate(s, nil); len(faults) != 2 {
			t.Errorf("%s: want issuer and jwks_url missing, got %v", name, faults)
		}
	}
}

// A schema and the struct that its values are read into have the same fields, with
// what Kong and Go read alike. Checked by leaving a field out of either.
func TestSchemasAndStructsAgree(t *testing.T) {
	for name, into := range map[string]any{settings.AuthName: &settings.Auth{}, settings.TagName: &settings.Tag{}} {
		values := map[string]any{}
		for _, f := range settings.Schemas()[name].Config().Fields {
			if values[f.Name] = any("x"); f.Spec.Type == "integer" {
				values[f.Name] = 1
			}
			if len(f.Spec.Description) < 10 {
				t.Errorf("%s: Kong wants a description of at least 10 characters", f.Name)
			}
			if _, err := schema.Pattern(f.Spec.Match); err != nil {
				t.Error(err)
			}
		}
		data, err := json.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(into); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		again, err := json.Marshal(into)
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]any
		if err := json.Unmarshal(again, &members); err != nil || len(members) != len(values) {
			t.Errorf("%s: the struct has %d fields, the schema %d, %v", name, len(members), len(values), err)
		}
	}
}

func TestParse(t *testing.T) {
	const rest = `"issuer":"i","jwks_url":"http://x","leeway":null,"audience":null,"__seq__":7`
	const unresolved = `{"redis_url":"","$refs":{"redis_url":"{vault://env/x}"},` + rest + `}`
	unreadable := errors.New("no such file")
	tests := []struct {
		name, config, inFile string
		fileErr              error
		wantURL              string
		wantErr              error
	}{
		{"given", `{"redis_url":"redis://a",` + rest + `}`, "redis://b", nil, "redis://a", nil},
		{"given, and the file cannot be read", `{"redis_url":"redis://a",` + rest + `}`, "", unreadable, "redis://a", nil},
		{"unset, from the file", `{"redis_url":null,` + rest + `}`, "redis://b", nil, "redis://b", nil},
		{"unset, and the file cannot be read", `{"redis_url":null,` + rest + `}`, "", unreadable, "", unreadable},
		{"unset, no file", `{"redis_url":null,"$refs":[],` + rest + `}`, "", nil, "", settings.ErrNoRedisURL},
		{"unresolved reference", unresolved, "", nil, "", settings.ErrUnresolved},
		{"unresolved reference, and the file cannot be read", unresolved, "", unreadable, "", settings.ErrUnresolved},
		{"unresolved reference, from the file", unresolved, "redis://b", nil, "redis://b", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := func() (string, error) { return tt.inFile, tt.fileErr }
			auth, err := settings.ParseAuth([]byte(tt.config), file)
			if !errors.Is(err, tt.wantErr) || auth.RedisURL != tt.wantURL {
				t.Errorf("auth: %q, %v", auth.RedisURL, err)
			}
			if auth.Issuer != "i" || auth.LeewayDuration() != 5*time.Second || auth.Audience != "earlybird" || auth.CacheSize != 100000 {
				t.Errorf("auth: %+v", auth)
			}
			tag, err := settings.ParseTag([]byte(tt.config), file)
			if !errors.Is(err, tt.wantErr) || tag.RedisURL != tt.wantURL {
				t.Errorf("tag: %q, %v", tag.RedisURL, err)
			}
			if tag.Issuer != "i" || tag.ClaimTimeoutDuration() != 250*time.Millisecond {
				t.Errorf("tag: %+v", tag)
			}
		})
	}
	if _, err := settings.ParseAuth([]byte(`{"issuer":7}`), nil); err == nil {
		t.Error("a wrong type must be an error")
	}
}

// The table of fields in deploy/docs/edge.md has each field of the schemas once,
// with its default. Checked by leaving a row out, and by another default.
func TestFieldsInTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../deploy/docs/edge.md")
	if err != nil {
		t.Fatal(err)
	}
	of, defaults := map[string]string{}, map[string]string{}
	for name, s := range settings.Schemas() {
		for _, f := range s.Config().Fields {
			of[f.Name] += strings.TrimPrefix(name, "earlybird-")
			defaults[f.Name] = "none"
			if f.Spec.Default != nil {
				defaults[f.Name] = fmt.Sprintf("`%v`", f.Spec.Default)
			}
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (auth|tag|both) \\| ([^|]+) \\|").FindAllStringSubmatch(string(page), -1) {
		field, plugin := row[1], of[row[1]]
		if len(plugin) > len("auth") {
			plugin = "both"
		}
		if plugin != row[2] || defaults[field] != row[3] {
			t.Errorf("the page says of %s: of %s, by default %s; it is of %q, by default %s", field, row[2], row[3], plugin, defaults[field])
		}
		delete(of, field)
	}
	for field := range of {
		t.Errorf("no row for %s", field)
	}
}
