package schema

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
)

// Fault is one thing wrong with a configuration.
type Fault struct {
	Field   string // the member that is wrong
	Message string // in Kong's words, without the value, which may be a secret
	Hint    string // the known names for an unknown field, else the field's description
}

// String says it the way kong start does: in 'leeway': value should be between 0 and 60.
func (f Fault) String() string { return fmt.Sprintf("in '%s': %s", f.Field, f.Message) }

// UnknownField is the message about a member that the schema does not have.
const UnknownField = "unknown field"

// Validate returns every fault of values, a plugin's config as read from
// kong.yml or from JSON, sorted by field; none when Kong accepts it. A field
// that is missing takes its default; one that is null does not.
func Validate(s Schema, values map[string]any) []Fault {
	var faults []Fault
	fields := s.Config().Fields
	for name := range values {
		if _, known := find(fields, name); !known {
			faults = append(faults, Fault{name, UnknownField, names(fields)})
		}
	}
	filled := Fill(s, values)
	for _, f := range fields {
		if message := f.Spec.fault(filled[f.Name]); message != "" {
			faults = append(faults, Fault{f.Name, message, f.Spec.Description})
		}
	}
	slices.SortFunc(faults, func(a, b Fault) int { return strings.Compare(a.Field, b.Field) })
	return faults
}

func names(fields []Field) string {
	var all []string
	for _, f := range fields {
		all = append(all, f.Name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// Fill returns the configuration that Kong sends to the plugin: values with the
// defaults of missing fields filled in, and null for those without a default.
func Fill(s Schema, values map[string]any) map[string]any {
	filled := maps.Clone(values)
	if filled == nil {
		filled = map[string]any{}
	}
	for _, f := range s.Config().Fields {
		if _, given := filled[f.Name]; !given {
			filled[f.Name] = f.Spec.Default
		}
	}
	return filled
}

const referencePrefix = "{vault://"

// IsReference reports whether Kong takes value for a vault reference, such as
// {vault://env/earlybird-redis-url}, which it resolves before the plugin sees
// it. Kong takes one that names no secret too, and sends an empty string.
func IsReference(value string) bool {
	return strings.HasPrefix(value, referencePrefix) && strings.HasSuffix(value, "}")
}

// fault is Kong's message for a value, or nothing.
func (s Spec) fault(v any) string {
	if v == nil {
		if s.Required {
			return "required field missing"
		}
		return ""
	}
	if s.Type == "integer" {
		return s.integerFault(v)
	}
	return s.stringFault(v)
}

func (s Spec) integerFault(v any) string {
	n, ok := number(v)
	if !ok || n != math.Trunc(n) {
		return "expected an integer"
	}
	if s.Between != nil && (n < float64(s.Between[0]) || n > float64(s.Between[1])) {
		return fmt.Sprintf("value should be between %d and %d", s.Between[0], s.Between[1])
	}
	return ""
}

func (s Spec) stringFault(v any) string {
	text, ok := v.(string)
	switch {
	case !ok:
		return "expected a string"
	case s.Referenceable && IsReference(text):
		return ""
	case text == "":
		return "length must be at least 1"
	case s.OneOf != nil && !slices.Contains(s.OneOf, text):
		return "expected one of: " + strings.Join(s.OneOf, ", ")
	}
	if s.Match != "" {
		if re, err := Pattern(s.Match); err != nil || !re.MatchString(text) {
			return "invalid value" // Kong repeats it, but it may hold a password
		}
	}
	return ""
}

// number widens what JSON and YAML decoders make of a number.
func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

// foreign are the characters that Lua patterns and regular expressions read
// differently, or that only one of the two gives a meaning.
const foreign = `%-|(){}\`

// Pattern compiles a Match. Kong takes it for a Lua pattern, this package for a
// regular expression, so only what means the same in both is allowed: anchors,
// literal characters, sets, and the repetitions ? * +.
func Pattern(match string) (*regexp.Regexp, error) {
	if i := strings.IndexAny(match, foreign); i >= 0 {
		return nil, fmt.Errorf("pattern %q: %q means something else to Lua", match, match[i])
	}
	return regexp.Compile(match)
}
