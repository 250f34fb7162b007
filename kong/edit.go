package kong

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// change gives a scalar of a YAML text another value.
type change struct {
	node     *yaml.Node
	value    string
	isNumber bool
	below    []string // lines that follow, with the same indentation
}

// apply returns the changed text. It replaces scalars and leaves every other
// byte alone: encoding the nodes again would lose blank lines and layout.
func apply(text []byte, changes []change) ([]byte, error) {
	lines := bytes.SplitAfter(text, []byte("\n"))
	for _, c := range changes {
		if c.node == nil || c.node.Kind != yaml.ScalarNode {
			return nil, errors.New("kong.yml no longer has a field that is to be set")
		}
		line := lines[c.node.Line-1]
		at := c.node.Column - 1
		old := source(c.node.Value, c.node.Style)
		if !bytes.HasPrefix(line[at:], []byte(old)) {
			return nil, fmt.Errorf("kong.yml line %d: a value that is to be set is not written on one line without escapes", c.node.Line)
		}
		value := c.value
		if !c.isNumber {
			value = quote(value)
		}
		changed := slices.Concat(line[:at], []byte(value), line[at+len(old):])
		indent := changed[:len(changed)-len(bytes.TrimLeft(changed, " "))]
		for _, below := range c.below {
			changed = slices.Concat(changed, indent, []byte(below+"\n"))
		}
		lines[c.node.Line-1] = changed
	}
	return slices.Concat(lines...), nil
}

// source is how a scalar stands in the text if nothing in it is escaped.
func source(value string, style yaml.Style) string {
	switch style {
	case yaml.DoubleQuotedStyle:
		return `"` + value + `"`
	case yaml.SingleQuotedStyle:
		return "'" + value + "'"
	default:
		return value
	}
}

// quote writes a string for YAML. It is always quoted: null, on and 123 are no
// strings without.
func quote(value string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range value {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
