package kong

import (
	"math"
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

// words are the plain scalars with a meaning: those of YAML 1.1.
var words = map[string]any{
	"": nil, "~": nil, "null": nil, "Null": nil, "NULL": nil,
	"true": true, "True": true, "TRUE": true, "yes": true, "Yes": true, "YES": true, "on": true, "On": true, "ON": true,
	"false": false, "False": false, "FALSE": false, "no": false, "No": false, "NO": false, "off": false, "Off": false, "OFF": false,
	".inf": math.Inf(1), ".Inf": math.Inf(1), ".INF": math.Inf(1),
	"+.inf": math.Inf(1), "+.Inf": math.Inf(1), "+.INF": math.Inf(1),
	"-.inf": math.Inf(-1), "-.Inf": math.Inf(-1), "-.INF": math.Inf(-1),
	".nan": math.NaN(), ".NaN": math.NaN(), ".NAN": math.NaN(),
}

func plain(s string) any {
	if v, known := words[s]; known {
		return v
	}
	if n, ok := number(s); ok {
		return n
	}
	return s
}

// The numbers of YAML 1.1, the sign apart; underscores anywhere are ignored.
var (
	octal       = regexp.MustCompile(`^0_*[0-7][0-7_]*$`)
	decimal     = regexp.MustCompile(`^_*[0-9][0-9_]*$`)
	hexadecimal = regexp.MustCompile(`^0x_*[0-9a-fA-F][0-9a-fA-F_]*$`)
	binary      = regexp.MustCompile(`^0b_*[01][01_]+$`)
	float       = regexp.MustCompile(`^[0-9_]*\.?[0-9_]*([eE][-+]?[0-9_]+)?$`)
	sexagesimal = regexp.MustCompile(`^[0-9]+:[0-5]?[0-9][:0-9]*(\.[0-9]+)?$`)
)

func number(s string) (n float64, ok bool) {
	digits, negative := strings.CutPrefix(s, "-")
	if !negative {
		digits = strings.TrimPrefix(s, "+")
	}
	bare := strings.ReplaceAll(digits, "_", "")
	switch {
	case octal.MatchString(digits):
		n, ok = integer(bare[1:], 8)
	case decimal.MatchString(digits):
		n, ok = integer(bare, 10)
	case hexadecimal.MatchString(digits):
		n, ok = integer(bare[2:], 16)
	case binary.MatchString(digits):
		n, ok = integer(bare[2:], 2)
	case float.MatchString(digits):
		var err error
		n, err = strconv.ParseFloat(bare, 64)
		ok = err == nil || math.IsInf(n, 0)
	case sexagesimal.MatchString(digits):
		for part := range strings.SplitSeq(strings.Trim(digits, ":"), ":") {
			unit, _ := strconv.ParseFloat(part, 64)
			n = n*60 + unit
		}
		ok = true
	}
	if negative {
		n = -n
	}
	return n, ok
}

func integer(digits string, base float64) (n float64, ok bool) {
	for _, c := range digits {
		digit, err := strconv.ParseInt(string(c), 16, 64)
		if err != nil {
			return 0, false
		}
		n = n*base + float64(digit)
	}
	return n, digits != ""
}
