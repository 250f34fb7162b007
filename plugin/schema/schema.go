// Package schema describes the configuration of Earlybird's plugins in Kong's
// schema language, and checks a configuration the way Kong does, in Kong's words.
// It has only the part of the language that the two plugins use.
package schema

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Schema is a plugin's schema as Kong reads it from the plugin's dump.
type Schema struct {
	Name   string  `json:"name"`
	Fields []Field `json:"fields"`
}

// Field is one named member of a record.
type Field struct {
	Name string
	Spec Spec
}

// Spec says what a field may hold.
type Spec struct {
	Type          string   `json:"type"`                    // string or integer; record for the config itself
	Description   string   `json:"description,omitempty"`   // what the operator reads; Kong wants at least 10 characters
	Required      bool     `json:"required,omitempty"`      // it must be given or have a default
	Default       any      `json:"default,omitempty"`       // what Kong fills in: a string or an int
	OneOf         []string `json:"one_of,omitempty"`        // the strings allowed
	Between       []int64  `json:"between,omitempty"`       // least and greatest, both allowed
	Match         string   `json:"match,omitempty"`         // a Lua pattern, see Pattern
	Encrypted     bool     `json:"encrypted,omitempty"`     // Kong stores the value encrypted where it can
	Referenceable bool     `json:"referenceable,omitempty"` // the value may be a vault reference
	Fields        []Field  `json:"fields,omitempty"`        // of a record
}

// Of is the schema of a plugin whose configuration has these fields.
func Of(name string, fields ...Field) Schema {
	return Schema{Name: name, Fields: []Field{{"config", Spec{Type: "record", Required: true, Fields: fields}}}}
}

// Decode fills config from the configuration that Kong sends. A null member, which
// is how Kong sends an unset field, gets the schema's default.
func (s Schema) Decode(data []byte, config any) error {
	defaults, err := json.Marshal(Fill(s, nil))
	if err == nil {
		err = json.Unmarshal(defaults, config)
	}
	if err == nil {
		err = json.Unmarshal(data, config)
	}
	if err != nil {
		return fmt.Errorf("decode plugin configuration: %w", err)
	}
	return nil
}

// MarshalJSON writes the field the way Kong lists it: an object of one member.
func (f Field) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]Spec{f.Name: f.Spec})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Field) UnmarshalJSON(data []byte) error {
	var m map[string]Spec
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("read schema field: %w", err)
	}
	if len(m) != 1 {
		return errors.New("read schema field: want an object of one member")
	}
	for name, spec := range m {
		f.Name, f.Spec = name, spec
	}
	return nil
}

// Config is the description of the plugin's own configuration: the record
// named config.
func (s Schema) Config() Spec {
	spec, _ := find(s.Fields, "config")
	return spec
}

func find(fields []Field, name string) (Spec, bool) {
	for _, f := range fields {
		if f.Name == name {
			return f.Spec, true
		}
	}
	return Spec{}, false
}
