package schema

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Fault is one thing wrong with a configuration.
type Fault struct {
	Field   string // the member of config that is wrong; "config" for the whole
	Message string // in Kong's words
}

// String says it the way kong start does: in 'leeway': value should be between 0 and 60.
func (f Fault) String() string { return fmt.Sprintf("in '%s': %s", f.Field, f.Message) }

// Validate holds values, a plugin's config as read from kong.yml or from JSON,
// against the schema and returns every fault, sorted by field; none when Kong
// would accept it. A missing field that has a default is not a fault.
func Validate(s Schema, values map[string]any) []Fault {
	record := s.Config()
	var faults []Fault
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if _, known := find(record.Fields, name); !known {
			faults = append(faults, Fault{name, "unknown field"})
		}
	}
	for _, f := range record.Fields {
		v := values[f.Name]
		if v == nil {
			v = f.Spec.Default
		}
		if message := f.Spec.fault(v); message != "" {
			faults = append(faults, Fault{f.Name, message})
		}
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return strings.Compare(a.Field, b.Field) })
	return faults
}

// Fill returns the configuration Kong would send to the plugin: values with
// the defaults filled in, and null for what is neither given nor has one.
func Fill(s Schema, values map[string]any) map[string]any {
	filled := maps.Clone(values)
	if filled == nil {
		filled = map[string]any{}
	}
	for _, f := range s.Config().Fields {
		if filled[f.Name] == nil {
			filled[f.Name] = f.Spec.Default
		}
	}
	return filled
}

// IsReference reports whether value is a vault reference, which Kong resolves
// before the plugin sees it: {vault://<vault>/<secret>}.
func IsReference(value string) bool {
	return strings.HasPrefix(value, "{vault://") && strings.HasSuffix(value, "}") && len(value) > len("{vault://}")
}

// fault is Kong's message for a value, or nothing.
func (s Spec) fault(v any) string {
	if v == nil {
		if s.Required {
			return "required field missing"
		}
		return ""
	}
	if message := typeFault(s.Type, v); message != "" {
		return message
	}
	if text, ok := v.(string); ok {
		if s.Referenceable && IsReference(text) {
			return ""
		}
		if message := s.stringFault(text); message != "" {
			return message
		}
	}
	if list, ok := v.([]any); ok {
		if message := s.listFault(list); message != "" {
			return message
		}
	}
	if n, ok := number(v); ok && s.Between != nil && (n < float64(s.Between[0]) || n > float64(s.Between[1])) {
		return fmt.Sprintf("value should be between %d and %d", s.Between[0], s.Between[1])
	}
	return s.choiceFault(v)
}

func (s Spec) stringFault(text string) string {
	least := 1 // Kong takes an empty string for a mistake unless told otherwise
	if s.LenMin != nil {
		least = *s.LenMin
	}
	if len(text) < least {
		return fmt.Sprintf("length must be at least %d", least)
	}
	if s.Match == "" {
		return ""
	}
	if re, err := Pattern(s.Match); err != nil || !re.MatchString(text) {
		return "invalid value: " + text
	}
	return ""
}

func (s Spec) listFault(list []any) string {
	if s.LenMin != nil && len(list) < *s.LenMin {
		return fmt.Sprintf("length must be at least %d", *s.LenMin)
	}
	for _, item := range list {
		if s.Elements == nil {
			break
		}
		if message := s.Elements.fault(item); message != "" {
			return message
		}
	}
	return ""
}

func (s Spec) choiceFault(v any) string {
	if s.OneOf == nil {
		return ""
	}
	names := make([]string, len(s.OneOf))
	for i, choice := range s.OneOf {
		if same(choice, v) {
			return ""
		}
		names[i] = fmt.Sprint(choice)
	}
	return "expected one of: " + strings.Join(names, ", ")
}

func same(a, b any) bool {
	x, ok1 := number(a)
	y, ok2 := number(b)
	if ok1 && ok2 {
		return x == y
	}
	return fmt.Sprint(a) == fmt.Sprint(b)
}

var articles = map[string]string{
	"string": "a string", "boolean": "a boolean", "integer": "an integer", "number": "a number",
	"array": "an array", "record": "a record",
}

func typeFault(kind string, v any) string {
	n, isNumber := number(v)
	ok := false
	switch kind {
	case "string":
		_, ok = v.(string)
	case "boolean":
		_, ok = v.(bool)
	case "integer":
		ok = isNumber && n == math.Trunc(n)
	case "number":
		ok = isNumber
	case "array":
		_, ok = v.([]any)
	}
	if ok {
		return ""
	}
	return "expected " + articles[kind]
}

// number widens what JSON and YAML decoders make of a number.
func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case uint64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}
