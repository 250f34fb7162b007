package schema

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Fault is one thing wrong with a configuration.
type Fault struct {
	Field   string // the member that is wrong, such as redis.port or paths[1].ip; empty for the whole
	Message string // in Kong's words, without the value, which may be a secret
	Hint    string // of an unknown field the names that are known, of others their description; may be empty
}

// String says it the way kong start does: in 'leeway': value should be between 0 and 60.
func (f Fault) String() string { return fmt.Sprintf("in '%s': %s", f.Field, f.Message) }

// UnknownField is the message about a member that the schema does not have.
const UnknownField = "unknown field"

// Validate holds values, a plugin's config as read from kong.yml or from JSON,
// against the schema and returns every fault, sorted by field; none when Kong
// would accept it. A missing field that has a default is not a fault.
func Validate(s Schema, values map[string]any) []Fault {
	return Check(s.Config(), values)
}

// Check is Validate for one record.
func Check(record Spec, values map[string]any) []Fault {
	faults := record.memberFaults("", values)
	slices.SortStableFunc(faults, func(a, b Fault) int { return strings.Compare(a.Field, b.Field) })
	return faults
}

// memberFaults are the faults of a record's members; path is the record's own.
func (s Spec) memberFaults(path string, values map[string]any) []Fault {
	var faults []Fault
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if _, known := find(s.Fields, name); !known {
			faults = append(faults, Fault{join(path, name), UnknownField, s.names()})
		}
	}
	for _, f := range s.Fields {
		v := values[f.Name]
		if v == nil {
			v = f.Spec.Default
		}
		faults = append(faults, f.Spec.faults(join(path, f.Name), v)...)
	}
	return s.judged(path, values, faults)
}

// names lists a record's members.
func (s Spec) names() string {
	names := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		names[i] = f.Name
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
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

const referencePrefix = "{vault://"

// IsReference reports whether value is a vault reference, which Kong resolves
// before the plugin sees it: {vault://<vault>/<secret>}.
func IsReference(value string) bool {
	inner, ok := strings.CutPrefix(value, referencePrefix)
	inner, closed := strings.CutSuffix(inner, "}")
	vault, secret, _ := strings.Cut(inner, "/")
	return ok && closed && vault != "" && strings.Trim(secret, "/") != ""
}

// faults are those of a value and of what is in it; path is where it stands.
func (s Spec) faults(path string, v any) []Fault {
	switch v := v.(type) {
	case map[string]any:
		if s.Type == "record" {
			return s.memberFaults(path, v)
		}
		if s.Type == "map" {
			return s.mapFaults(path, v)
		}
	case []any:
		if s.Type == "array" || s.Type == "set" {
			return s.listFaults(path, v)
		}
	}
	if message := s.fault(v); message != "" {
		return []Fault{{path, message, s.Description}}
	}
	return nil
}

func (s Spec) listFaults(path string, list []any) []Fault {
	if s.LenMin != nil && len(list) < *s.LenMin {
		return []Fault{{path, fmt.Sprintf("length must be at least %d", *s.LenMin), s.Description}}
	}
	var faults []Fault
	for i, item := range list {
		if s.Elements == nil {
			break
		}
		element := *s.Elements
		if element.Description == "" {
			element.Description = s.Description
		}
		element.Required = true // a list has no holes
		faults = append(faults, element.faults(path+"["+strconv.Itoa(i)+"]", item)...)
	}
	return s.judged(path, list, faults)
}

func (s Spec) mapFaults(path string, values map[string]any) []Fault {
	var faults []Fault
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if s.Keys != nil {
			faults = append(faults, s.Keys.faults(join(path, key), key)...)
		}
		if s.Values != nil {
			faults = append(faults, s.Values.faults(join(path, key), values[key])...)
		}
	}
	return faults
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
		if s.Referenceable && strings.HasPrefix(text, referencePrefix) {
			return referenceFault(text)
		}
		if message := s.stringFault(text); message != "" {
			return message
		}
	}
	if n, ok := Number(v); ok {
		if message := s.numberFault(n); message != "" {
			return message
		}
	}
	if message := s.choiceFault(v); message != "" {
		return message
	}
	return s.custom(v)
}

func (s Spec) custom(v any) string {
	if s.CustomValidator == nil {
		return ""
	}
	return s.CustomValidator(v)
}

// judged are the faults of a record or a list, or when it has none what its own
// validator says: that may rely on every member being as its Spec says.
func (s Spec) judged(path string, v any, faults []Fault) []Fault {
	if len(faults) > 0 {
		return faults
	}
	if message := s.custom(v); message != "" {
		return []Fault{{path, message, s.Description}}
	}
	return nil
}

// referenceFault refuses a reference that cannot be resolved. Kong takes it at
// its start, and the plugin then gets an empty string.
func referenceFault(text string) string {
	if IsReference(text) {
		return ""
	}
	return "invalid reference: it must name a vault and a secret, as in {vault://env/name}"
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
		return "invalid value" // Kong repeats it, but it may hold a password
	}
	return ""
}

func (s Spec) numberFault(n float64) string {
	if s.Between != nil && (n < float64(s.Between[0]) || n > float64(s.Between[1])) {
		return fmt.Sprintf("value should be between %d and %d", s.Between[0], s.Between[1])
	}
	if s.Gt != nil && n <= *s.Gt {
		return fmt.Sprintf("value must be greater than %v", *s.Gt)
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
	x, ok1 := Number(a)
	y, ok2 := Number(b)
	if ok1 && ok2 {
		return x == y
	}
	return fmt.Sprint(a) == fmt.Sprint(b)
}

var articles = map[string]string{
	"string": "a string", "boolean": "a boolean", "integer": "an integer", "number": "a number",
	"array": "an array", "set": "a set", "map": "a map", "record": "a record", "foreign": "a name or an id",
}

func typeFault(kind string, v any) string {
	n, isNumber := Number(v)
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
	case "array", "set":
		_, ok = v.([]any)
	case "map", "record":
		_, ok = v.(map[string]any)
	case "foreign":
		_, isText := v.(string)
		_, isRecord := v.(map[string]any)
		ok = isText || isRecord
	}
	if ok {
		return ""
	}
	return "expected " + articles[kind]
}

// Number widens what JSON and YAML decoders make of a number.
func Number(v any) (float64, bool) {
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
