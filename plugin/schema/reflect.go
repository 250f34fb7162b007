package schema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// minDescription is the shortest description that Kong accepts, in characters.
const minDescription = 10

// Of describes config, a struct or a pointer to one, as the schema of the
// plugin of this name. A tag that makes no sense is a programming error and
// panics, so that every test that touches the type finds it.
func Of(name string, config any) Schema {
	t := structType(config)
	record := Spec{Type: "record", Required: true}
	for i := range t.NumField() {
		record.Fields = append(record.Fields, fieldOf(t.Field(i)))
	}
	return Schema{Name: name, Fields: []Field{{Name: "config", Spec: record}}}
}

func structType(config any) reflect.Type {
	t := reflect.TypeOf(config)
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("schema: %T is not a struct", config))
	}
	return t
}

func fieldOf(f reflect.StructField) Field {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	check(name != "" && f.IsExported(), f, "json", "every field must be exported and named")
	spec := specOf(f)
	spec.Description = f.Tag.Get("description")
	check(len(spec.Description) >= minDescription, f, "description", "Kong wants at least 10 characters")
	spec.Required = flag(f, "required")
	spec.Encrypted = flag(f, "encrypted")
	spec.Referenceable = flag(f, "referenceable")
	check(spec.Type == "string" || !spec.Referenceable, f, "referenceable", "only strings can be references")
	return Field{Name: name, Spec: spec}
}

func specOf(f reflect.StructField) Spec {
	spec := Spec{Type: typeName(f)}
	if text, ok := f.Tag.Lookup("default"); ok {
		spec.Default = value(f, spec.Type, text)
	}
	if text, ok := f.Tag.Lookup("one_of"); ok {
		check(spec.Type == "string", f, "one_of", "only strings have choices")
		for item := range strings.SplitSeq(text, ",") {
			spec.OneOf = append(spec.OneOf, item)
		}
	}
	if text, ok := f.Tag.Lookup("between"); ok {
		spec.Between = bounds(f, spec.Type, text)
	}
	if spec.Match = f.Tag.Get("match"); spec.Match != "" {
		_, err := Pattern(spec.Match)
		check(err == nil && spec.Type == "string", f, "match", "want a simple pattern on a string")
	}
	return spec
}

func typeName(f reflect.StructField) string {
	switch f.Type.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int:
		return "integer"
	}
	panic(fmt.Sprintf("schema: field %s: there is no type here for %s", f.Name, f.Type))
}

func value(f reflect.StructField, kind, text string) any {
	var v any = text
	var err error
	switch kind {
	case "boolean":
		v, err = strconv.ParseBool(text)
	case "integer":
		v, err = strconv.ParseInt(text, 10, 64)
	}
	check(err == nil, f, "default", "not a "+kind)
	return v
}

func bounds(f reflect.StructField, kind, text string) []int64 {
	low, high, ok := strings.Cut(text, ",")
	least, err1 := strconv.ParseInt(low, 10, 64)
	greatest, err2 := strconv.ParseInt(high, 10, 64)
	check(ok && err1 == nil && err2 == nil && least <= greatest && kind == "integer", f, "between", "want two numbers")
	return []int64{least, greatest}
}

func flag(f reflect.StructField, tag string) bool {
	text, ok := f.Tag.Lookup(tag)
	check(!ok || text == "true", f, tag, `the only value is "true"`)
	return ok
}

func check(ok bool, f reflect.StructField, tag, problem string) {
	if !ok {
		panic(fmt.Sprintf("schema: field %s: tag %s: %s", f.Name, tag, problem))
	}
}

// foreign are the characters that Lua patterns and regular expressions read
// differently, or that only one of the two gives a meaning.
const foreign = `%-|(){}\`

// Pattern compiles a match tag. Kong takes it for a Lua pattern, this package
// for a regular expression, so only what means the same in both is allowed:
// anchors, literal characters, sets, and the repetitions ? * +.
func Pattern(match string) (*regexp.Regexp, error) {
	if i := strings.IndexAny(match, foreign); i >= 0 {
		return nil, fmt.Errorf("pattern %q: %q means something else to Lua", match, match[i])
	}
	re, err := regexp.Compile(match)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", match, err)
	}
	return re, nil
}

// Decode fills config, a pointer to a tagged struct, from the configuration
// that Kong sends: first the defaults of the tags, then what Kong gives. A null
// member, which is how Kong sends an unset field, leaves the default.
func Decode(data []byte, config any) error {
	v := reflect.ValueOf(config).Elem()
	for i := range v.NumField() {
		f := fieldOf(v.Type().Field(i))
		if f.Spec.Default != nil {
			def := reflect.ValueOf(f.Spec.Default)
			v.Field(i).Set(def.Convert(v.Field(i).Type()))
		}
	}
	if err := json.Unmarshal(data, config); err != nil {
		return fmt.Errorf("decode plugin configuration: %w", err)
	}
	return nil
}
