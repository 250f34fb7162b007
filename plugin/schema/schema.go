// Package schema describes a plugin's configuration in Kong's own schema
// language, derived from the struct tags of the Go type that receives it, and
// checks a configuration against such a description in Kong's words.
//
// The tags of a field, all but json and description optional:
//
//	json           the field's name in kong.yml
//	description    what the operator reads; at least 10 characters
//	required       "true": the field must be given or have a default
//	default        the value Kong fills in
//	one_of         the values allowed, separated by commas
//	between        the least and the greatest number allowed: "0,60"
//	match          a Lua pattern, see [Pattern]
//	len_min        the least length of a string, or of an array
//	encrypted      "true": Kong stores the value encrypted where it can
//	referenceable  "true": the value may be a vault reference
//
// string, bool, int, int64, float64 and []string fields are understood. Tables
// that are written out, not derived, may use all of [Spec].
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

// Spec says what a field may hold. Kong's schema language has more; this is
// what the project's plugins and its kong.yml use.
type Spec struct {
	// Type is string, boolean, integer, number, array, set, map, record or
	// foreign (the name or id of another entity).
	Type          string   `json:"type"`
	Description   string   `json:"description,omitempty"`
	Required      bool     `json:"required,omitempty"`
	Default       any      `json:"default,omitempty"`
	OneOf         []any    `json:"one_of,omitempty"`
	Between       []int64  `json:"between,omitempty"` // least and greatest, both allowed
	Gt            *float64 `json:"gt,omitempty"`      // what a number must be above
	Match         string   `json:"match,omitempty"`
	LenMin        *int     `json:"len_min,omitempty"`
	Encrypted     bool     `json:"encrypted,omitempty"`
	Referenceable bool     `json:"referenceable,omitempty"`
	Elements      *Spec    `json:"elements,omitempty"` // of an array or a set
	Keys          *Spec    `json:"keys,omitempty"`     // of a map
	Values        *Spec    `json:"values,omitempty"`   // of a map
	Fields        []Field  `json:"fields,omitempty"`   // of a record
	// CustomValidator is asked last about a value that is not null and has no
	// other fault, and says what is wrong with it, or nothing. It must not repeat what may hold a
	// password. A dump cannot carry it.
	CustomValidator func(value any) string `json:"-"`
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
