package kong

import (
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// scalar returns the value that Kong's YAML reader, lyaml, makes of a scalar: a
// string, a bool, a float64 or nil. For what is no scalar it returns the node.
func scalar(n *yaml.Node) any {
	switch tag, plainStyle := tagOf(n), n.Style&^yaml.TaggedStyle == 0; {
	case n.Kind != yaml.ScalarNode:
		return n
	case tag == "!!str", tag == "" && !plainStyle:
		return n.Value
	case tag == "!!null":
		return nil
	case tag == "!!bool" && strings.EqualFold(n.Value, "y"):
		return true
	case tag == "!!bool" && strings.EqualFold(n.Value, "n"):
		return false
	}
	return plain(n.Value)
}

// tagOf returns the tag that is written at a scalar if lyaml heeds it.
func tagOf(n *yaml.Node) string {
	if n.Style&yaml.TaggedStyle == 0 {
		return ""
	}
	switch tag := n.ShortTag(); tag {
	case "!!str", "!!bool", "!!int", "!!float", "!!null":
		return tag
	}
	return ""
}

// tagFits reports whether lyaml can make of a scalar what its tag says.
func tagFits(n *yaml.Node) bool {
	ok := true
	switch value := scalar(n); tagOf(n) {
	case "!!bool":
		_, ok = value.(bool)
	case "!!int", "!!float":
		_, ok = value.(float64)
	}
	return ok
}

// booleans are those of YAML 1.1, which Kong's reader has.
var booleans = map[string]bool{
	"true": true, "True": true, "TRUE": true, "yes": true, "Yes": true, "YES": true, "on": true, "On": true, "ON": true,
	"false": false, "False": false, "FALSE": false, "no": false, "No": false, "NO": false, "off": false, "Off": false, "OFF": false,
}

// sexagesimal is a number of YAML 1.1 such as 1:30, which is 90.
var sexagesimal = regexp.MustCompile(`^[-+]?[0-9]+(:[0-9]+)+(\.[0-9]+)?$`)

// plain returns the value of a scalar that has no quotes and no tag.
func plain(s string) any {
	if b, known := booleans[s]; known {
		return b
	}
	if sexagesimal.MatchString(s) {
		var n float64
		for part := range strings.SplitSeq(strings.TrimLeft(s, "+-"), ":") {
			unit, _ := strconv.ParseFloat(part, 64)
			n = n*60 + unit
		}
		if s[0] == '-' {
			n = -n
		}
		return n
	}
	var value any
	if err := (&yaml.Node{Kind: yaml.ScalarNode, Value: s}).Decode(&value); err != nil {
		return s
	}
	switch v := value.(type) {
	case nil:
		return nil
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case float64:
		return v
	}
	return s // a date is text to Kong
}
