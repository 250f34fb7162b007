package schema_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/plugin/schema"
)

type sample struct {
	Name   string `json:"name"`
	URL    string `json:"url"`
	Secret string `json:"secret"`
	Mode   string `json:"mode"`
	Leeway int    `json:"leeway"`
}

var sampleSchema = schema.Of("sample",
	schema.Field{Name: "name", Spec: schema.Spec{Type: "string", Required: true}},
	schema.Field{Name: "url", Spec: schema.Spec{Type: "string", Match: "^https?://"}},
	schema.Field{Name: "secret", Spec: schema.Spec{Type: "string", Match: "^rediss?://", Encrypted: true, Referenceable: true}},
	schema.Field{Name: "mode", Spec: schema.Spec{Type: "string", Default: "fast", OneOf: []string{"fast", "safe"}}},
	schema.Field{Name: "leeway", Spec: schema.Spec{Type: "integer", Required: true, Default: 5, Between: []int64{0, 60}}},
)

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		values map[string]any
		want   []string
	}{
		{"minimal", map[string]any{"name": "n"}, nil},
		{"everything", map[string]any{
			"name": "n", "url": "https://x", "secret": "redis://x", "mode": "safe", "leeway": 60,
		}, nil},
		{"numbers as JSON decodes them", map[string]any{"name": "n", "leeway": float64(7)}, nil},
		{"reference in a referenceable field", map[string]any{"name": "n", "secret": "{vault://env/x}"}, nil},
		{"reference elsewhere", map[string]any{"name": "n", "url": "{vault://env/x}"}, []string{"in 'url': invalid value"}},
		{"every fault at once", map[string]any{"extra": 1, "leeway": 61}, []string{
			"in 'extra': unknown field", "in 'leeway': value should be between 0 and 60", "in 'name': required field missing",
		}},
		{"null is missing", map[string]any{"name": nil}, []string{"in 'name': required field missing"}},
		{"empty string", map[string]any{"name": ""}, []string{"in 'name': length must be at least 1"}},
		{"below", map[string]any{"name": "n", "leeway": -1}, []string{"in 'leeway': value should be between 0 and 60"}},
		{"not a string", map[string]any{"name": 1}, []string{"in 'name': expected a string"}},
		{"not an integer", map[string]any{"name": "n", "leeway": 1.5}, []string{"in 'leeway': expected an integer"}},
		{"number as text", map[string]any{"name": "n", "leeway": "5"}, []string{"in 'leeway': expected an integer"}},
		{"not a choice", map[string]any{"name": "n", "mode": "slow"}, []string{"in 'mode': expected one of: fast, safe"}},
		{"no match", map[string]any{"name": "n", "url": "ftp://x"}, []string{"in 'url': invalid value"}},
		{"null in the place of a default", map[string]any{"name": "n", "leeway": nil}, []string{"in 'leeway': required field missing"}},
		{"null where nothing is needed", map[string]any{"name": "n", "mode": nil, "url": nil}, nil},
		{"a whole number with a fraction of zero", map[string]any{"name": "n", "leeway": 5.0}, nil},
		// Kong takes it, and sends an empty string to the plugin.
		{"reference without a secret", map[string]any{"name": "n", "secret": "{vault://env/}"}, nil},
		{"reference that is not closed", map[string]any{"name": "n", "secret": "{vault://env/x"}, []string{"in 'secret': invalid value"}},
	}
	// The stand-in gateway reads the schema from a dump, so that must judge alike.
	direct := sampleSchema
	dumped := throughJSON(t, direct)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for source, s := range map[string]schema.Schema{"direct": direct, "dumped": dumped} {
				var got []string
				for _, f := range schema.Validate(s, tt.values) {
					got = append(got, f.String())
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("%s: got %q, want %q", source, got, tt.want)
				}
			}
		})
	}
}

func throughJSON(t *testing.T, s schema.Schema) schema.Schema {
	t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back schema.Schema
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

func TestSchemaInKongsLanguage(t *testing.T) {
	got, err := json.Marshal(schema.Of("p",
		schema.Field{Name: "leeway", Spec: schema.Spec{Type: "integer", Description: "seconds of clock skew", Required: true, Default: 5, Between: []int64{0, 60}}},
		schema.Field{Name: "secret", Spec: schema.Spec{Type: "string", Description: "may be a reference", Match: "^rediss?://", Encrypted: true, Referenceable: true}},
	))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"p","fields":[{"config":{"type":"record","required":true,"fields":[` +
		`{"leeway":{"type":"integer","description":"seconds of clock skew","required":true,"default":5,"between":[0,60]}},` +
		`{"secret":{"type":"string","description":"may be a reference","match":"^rediss?://","encrypted":true,"referenceable":true}}]}}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFillAndDecode(t *testing.T) {
	filled := schema.Fill(sampleSchema, map[string]any{"name": "n", "leeway": 7})
	data, err := json.Marshal(filled)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), `"url":null`) {
		t.Errorf("an unset field must arrive as null: %s", data)
	}
	var got sample
	if err := sampleSchema.Decode(data, &got); err != nil {
		t.Fatal(err)
	}
	if got.Name != "n" || got.Leeway != 7 || got.Mode != "fast" || got.URL != "" {
		t.Errorf("got %+v", got)
	}
	var defaults sample
	if err := sampleSchema.Decode([]byte(`{"leeway":null,"__seq__":3}`), &defaults); err != nil {
		t.Fatal(err)
	}
	if defaults.Leeway != 5 || defaults.Mode != "fast" {
		t.Errorf("null must leave the default: %+v", defaults)
	}
	if err := sampleSchema.Decode([]byte(`{"leeway":"x"}`), &defaults); err == nil {
		t.Error("a wrong type must be an error")
	}
}
