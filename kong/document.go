package kong

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// parse returns the top-level mapping of a declarative file. As in Kong, a name
// that ends in json says that the file is JSON and nothing else, one that ends
// in yml or yaml that it is YAML; with any other name it may be either.
func parse(name string, data []byte) (*yaml.Node, error) {
	var top *yaml.Node
	var err error
	switch {
	case strings.HasSuffix(name, "json"):
		top, err = parseJSON(data)
	case strings.HasSuffix(name, "yml"), strings.HasSuffix(name, "yaml"):
		top, err = parseYAML(data)
	default:
		if top, err = parseJSON(data); err != nil {
			top, err = parseYAML(data)
		}
	}
	if err != nil {
		return nil, err
	}
	if resolve(top) == nil || resolve(top).Kind != yaml.MappingNode {
		return nil, errors.New("not a mapping at the top")
	}
	return top, settle(top)
}

// parseYAML reads YAML as libyaml 0.2.5 does, which Kong has. The reader here
// comes from an older one: what it refuses is read again with what has been added
// since, the escape \/, %YAML 1.2, and question marks in plain scalars between
// brackets; and with a placeholder for the halves of a character that JSON escapes
// as two.
func parseYAML(data []byte) (*yaml.Node, error) {
	top, err := firstDocument(data)
	if err == nil {
		return top, nil
	}
	const mark = "\uE000" // a question mark, meanwhile
	older := bytes.ReplaceAll(data, []byte(`\/`), []byte(`\x2F`))
	older = surrogate.ReplaceAll(older, []byte(`\uFFFD`))
	older = yaml12.ReplaceAll(older, []byte("%YAML 1.1"))
	older = question.ReplaceAll(older, []byte("${1}"+mark))
	top, again := firstDocument(older)
	if again != nil {
		return nil, err
	}
	restore(top, mark, "?")
	return top, nil
}

var (
	surrogate = regexp.MustCompile(`\\u[dD][89a-fA-F][0-9a-fA-F]{2}`)
	yaml12    = regexp.MustCompile(`(?m)^%YAML 1\.2\b`)
	question  = regexp.MustCompile(`([^\s?])\?`)
)

func restore(n *yaml.Node, mark, by string) {
	if n == nil {
		return
	}
	n.Value = strings.ReplaceAll(n.Value, mark, by)
	for _, item := range n.Content {
		restore(item, mark, by)
	}
}

// firstDocument returns the first document. Kong ignores others, but all of them
// must be YAML.
func firstDocument(data []byte) (*yaml.Node, error) {
	var first *yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return first, nil
		}
		if err != nil {
			return nil, err
		}
		if first == nil && len(doc.Content) == 1 {
			first = doc.Content[0]
		}
	}
}

// parseJSON reads JSON, which is YAML too but for characters that YAML has no
// place for.
func parseJSON(data []byte) (*yaml.Node, error) {
	var syntax *json.SyntaxError
	err := json.Unmarshal(data, new(json.RawMessage))
	if errors.As(err, &syntax) {
		before := data[:min(syntax.Offset, int64(len(data)))]
		return nil, fmt.Errorf("json: line %d: %w", 1+bytes.Count(before, []byte("\n")), err)
	}
	if err != nil {
		return nil, fmt.Errorf("json: %w", err)
	}
	return parseYAML(bytes.Map(func(r rune) rune {
		switch {
		case r == '\t': // never in a string
			return ' '
		case unicode.IsPrint(r), unicode.IsSpace(r):
			return r
		}
		return unicode.ReplacementChar
	}, data))
}

// settle makes of each mapping what Kong's YAML reader, lyaml, makes of it: merge
// keys are replaced by what they merge in, which never replaces another member,
// and of two equal keys the last wins. It finds what lyaml refuses and the reader
// here does not. Like lyaml it goes through the text once: an anchor stands for
// what has been read of it.
func settle(n *yaml.Node) error {
	switch n.Kind {
	case yaml.ScalarNode:
		if !tagFits(n) {
			return fmt.Errorf("line %d: the value does not fit its tag %s", n.Line, n.ShortTag())
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if err := settle(item); err != nil {
				return err
			}
		}
	case yaml.MappingNode:
		return settleMapping(n)
	}
	return nil
}

func settleMapping(n *yaml.Node) error {
	written := n.Content
	n.Content = nil
	at := map[string]int{}
	put := func(key, value *yaml.Node, replace bool) {
		if i, known := at[key.Value]; !known {
			at[key.Value] = len(n.Content)
			n.Content = append(n.Content, key, value)
		} else if replace {
			n.Content[i], n.Content[i+1] = key, value
		}
	}
	for i := 0; i+1 < len(written); i += 2 {
		key, value := resolve(written[i]), resolve(written[i+1])
		if err := errors.Join(settle(written[i]), settle(written[i+1])); err != nil {
			return err
		}
		switch isMerge := key.Value == "<<" || key.ShortTag() == "!!merge"; {
		case key.Kind != yaml.ScalarNode: // nothing of Kong's
		case !isMerge:
			put(key, value, true)
		case value.Kind == yaml.ScalarNode:
			return fmt.Errorf("line %d: << takes a mapping or a list of mappings", value.Line)
		default:
			merged := []*yaml.Node{value}
			if value.Kind == yaml.SequenceNode {
				merged = items(value)
			}
			for _, from := range merged {
				for _, m := range members(from) {
					put(m.key, m.value, false)
				}
			}
		}
	}
	return nil
}

// get follows keys from one mapping to the next. It returns nil when one is
// missing, and looks through aliases.
func get(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		var found *yaml.Node
		for _, m := range members(n) {
			if m.key.Value == key {
				found = m.value
			}
		}
		n = found
	}
	return n
}

// text returns a string that get finds, and "" for anything else.
func text(n *yaml.Node, keys ...string) string {
	found := get(n, keys...)
	if found == nil || found.Kind != yaml.ScalarNode {
		return ""
	}
	value, _ := scalar(found).(string)
	return value
}

type member struct{ key, value *yaml.Node }

// members returns a mapping's keys and values, and nothing for other nodes.
func members(n *yaml.Node) []member {
	if n = resolve(n); n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	all := make([]member, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		all = append(all, member{n.Content[i], resolve(n.Content[i+1])})
	}
	return all
}

// items returns the elements of a list, and nothing for other nodes.
func items(n *yaml.Node) []*yaml.Node {
	if n = resolve(n); n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	all := make([]*yaml.Node, len(n.Content))
	for i, item := range n.Content {
		all[i] = resolve(item)
	}
	return all
}

// texts returns the strings in a list.
func texts(n *yaml.Node) []string {
	var all []string
	for _, item := range items(n) {
		if value, ok := scalar(item).(string); ok {
			all = append(all, value)
		}
	}
	return all
}

// resolve returns what an alias stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}
