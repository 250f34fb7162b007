package kong

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"
)

// parse returns the top-level mapping of the one YAML document in data.
func parse(data []byte) (*yaml.Node, error) {
	var doc, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is a second document in it: remove it, with the line --- before it")
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("not a mapping at the top")
	}
	return doc.Content[0], nil
}

// get follows keys from one mapping to the next. It returns nil when one is
// missing, and looks through aliases.
func get(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		n = child(n, key)
	}
	return n
}

// child returns a mapping's value for one key, or nil.
func child(n *yaml.Node, key string) *yaml.Node {
	for k, v := range pairs(n) {
		if k.Value == key {
			return resolve(v)
		}
	}
	return nil
}

// pairs yields the keys and values of a mapping, and nothing for other nodes.
func pairs(n *yaml.Node) func(yield func(k, v *yaml.Node) bool) {
	return func(yield func(k, v *yaml.Node) bool) {
		n = resolve(n)
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

// items returns the elements of a list, and nothing for other nodes.
func items(n *yaml.Node) []*yaml.Node {
	n = resolve(n)
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// first returns the first element of a list, or nil.
func first(n *yaml.Node) *yaml.Node {
	for _, v := range items(n) {
		return resolve(v)
	}
	return nil
}

// named returns the element of a list whose name is name, or nil.
func named(list *yaml.Node, name string) *yaml.Node {
	for _, v := range items(list) {
		if n := get(v, "name"); n != nil && n.Value == name {
			return resolve(v)
		}
	}
	return nil
}

// resolve returns what an alias stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// pluginNodes returns every plugin of a document: global ones and those of
// services and routes, nested or not.
func pluginNodes(doc *yaml.Node) []*yaml.Node {
	found := slices.Clone(items(get(doc, "plugins")))
	for _, s := range items(get(doc, "services")) {
		found = append(found, items(get(s, "plugins"))...)
	}
	for _, r := range routeNodes(doc) {
		found = append(found, items(get(r, "plugins"))...)
	}
	return found
}

// routeNodes returns every route of a document, those within services too.
func routeNodes(doc *yaml.Node) []*yaml.Node {
	found := slices.Clone(items(get(doc, "routes")))
	for _, s := range items(get(doc, "services")) {
		found = append(found, items(get(s, "routes"))...)
	}
	return found
}

// edit replaces scalars in a YAML text and leaves every other byte alone:
// encoding the nodes again would lose blank lines and layout.
type edit struct {
	text    []byte
	changes []change
}

type change struct {
	node  *yaml.Node
	value string
	below []string
}

// set notes that n is to have a new value, and what lines are to follow its
// line with the same indentation.
func (e *edit) set(n *yaml.Node, value string, below ...string) {
	e.changes = append(e.changes, change{n, value, below})
}

// apply returns the changed text.
func (e *edit) apply() ([]byte, error) {
	lines := bytes.SplitAfter(e.text, []byte("\n"))
	for _, c := range e.changes {
		if c.node == nil || c.node.Kind != yaml.ScalarNode {
			return nil, errors.New("kong.yml no longer has a field that is to be set")
		}
		line := lines[c.node.Line-1]
		at := c.node.Column - 1
		old := source(c.node.Value, c.node.Style)
		if !bytes.HasPrefix(line[at:], []byte(old)) {
			return nil, fmt.Errorf("kong.yml line %d: a value that is to be set is not written on one line without escapes", c.node.Line)
		}
		changed := slices.Concat(line[:at], []byte(quote(c.value)), line[at+len(old):])
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

// plain matches what YAML reads as itself without quotes.
var plain = regexp.MustCompile(`^([a-z][a-z0-9._-]*(://[A-Za-z0-9._/-]+(:[0-9]+)?[A-Za-z0-9._/-]*|:[0-9]+)?|[1-9][0-9]*)$`)

// quote writes a scalar for YAML. JSON's strings are YAML's double-quoted ones.
func quote(value string) string {
	if plain.MatchString(value) {
		return value
	}
	quoted, err := json.Marshal(value)
	if err != nil {
		return value // cannot happen for a string
	}
	return string(quoted)
}
