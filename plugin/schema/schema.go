// Package schema describes the configuration of Earlybird's plugins in Kong's
// schema language, derived from the struct tags of the Go type that receives
// it, and checks a configuration the way Kong does, in Kong's words.
//
// It supports only the part of Kong's schema language that the two plugins use. The tags of
// a field, all but json and description optional:
//
//	json           the field's name in kong.yml
//	description    what the operator reads; at least 10 characters
//	required       "true": the field must be given or have a default
//	default        the value Kong fills in
//	one_of         the strings allowed, separated by commas
//	between        the least and the greatest number allowed: "0,60"
//	match          a Lua pattern, see [Pattern]
//	encrypted      "true": Kong stores the value encrypted where it can
//	referenceable  "true": the value may be a vault reference
//
// Fields are string, bool or int.
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
	Type          string   `json:"type"` // string, boolean or integer; record for the config itself
	Description   string   `json:"description,omitempty"`
	Required      bool     `json:"required,omitempty"`
	Default       any      `json:"default,omitempty"`
	OneOf         []string `json:"one_of,omitempty"`
	Between       []int64  `json:"between,omitempty"` // least and greatest, both allowed
	Match         string   `json:"match,omitempty"`
	Encrypted     bool     `json:"encrypted,omitempty"`
	Referenceable bool     `json:"referenceable,omitempty"`
	Fields        []Field  `json:"fields,omitempty"` // of a record
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
