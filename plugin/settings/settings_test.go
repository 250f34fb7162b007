package settings_test

import (
	"errors"
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

func TestParse(t *testing.T) {
	const rest = `"issuer":"i","jwks_url":"http://x","leeway":null,"audience":null,"__seq__":7`
	tests := []struct {
		name, config, fallback, wantURL string
		wantErr                         error
	}{
		{"given", `{"redis_url":"redis://a",` + rest + `}`, "redis://b", "redis://a", nil},
		{"unset, from the file", `{"redis_url":null,` + rest + `}`, "redis://b", "redis://b", nil},
		{"unset, no file", `{"redis_url":null,"$refs":[],` + rest + `}`, "", "", settings.ErrNoRedisURL},
		{"unresolved reference", `{"redis_url":"","$refs":{"redis_url":"{vault://env/x}"},` + rest + `}`, "", "", settings.ErrUnresolved},
		{"unresolved reference, from the file", `{"redis_url":"","$refs":{"redis_url":"{vault://env/x}"},` + rest + `}`, "redis://b", "redis://b", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			auth, err := settings.ParseAuth([]byte(tt.config), tt.fallback)
			if !errors.Is(err, tt.wantErr) || auth.RedisURL != tt.wantURL {
				t.Errorf("auth: %q, %v", auth.RedisURL, err)
			}
			if auth.Issuer != "i" || auth.LeewayDuration() != 5*time.Second || auth.Audience != "earlybird" || auth.CacheSize != 100000 {
				t.Errorf("auth: %+v", auth)
			}
			tag, err := settings.ParseTag([]byte(tt.config), tt.fallback)
			if !errors.Is(err, tt.wantErr) || tag.RedisURL != tt.wantURL {
				t.Errorf("tag: %q, %v", tag.RedisURL, err)
			}
			if tag.Issuer != "i" || tag.ClaimTimeoutDuration() != 250*time.Millisecond {
				t.Errorf("tag: %+v", tag)
			}
		})
	}
	if _, err := settings.ParseAuth([]byte(`{"issuer":7}`), "x"); err == nil {
		t.Error("a wrong type must be an error")
	}
}
