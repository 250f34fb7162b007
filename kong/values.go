package kong

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maxNodes bounds what aliases may blow a mapping up to.
	maxNodes = 10_000
	maxDepth = 50
)

// decode returns a mapping's values as Kong's YAML reader makes them: the
// words yes, no, on and off are booleans without quotes, and the last of two
// equal keys wins. Its second result says what is wrong, or nothing.
func decode(n *yaml.Node) (values map[string]any, problem string) {
	if n = resolve(n); n == nil || n.Kind != yaml.MappingNode {
		return nil, "expected a mapping of fields to values"
	}
	d := &decoder{left: maxNodes}
	values, _ = d.value(n, 0).(map[string]any)
	if d.left < 0 {
		return nil, "there is too much in this, or an alias that contains itself"
	}
	return values, ""
}

type decoder struct{ left int }

func (d *decoder) value(n *yaml.Node, depth int) any {
	n = resolve(n)
	if d.left--; d.left < 0 || depth > maxDepth || n == nil {
		d.left = -1
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		values := map[string]any{}
		for k, v := range pairs(n) {
			values[k.Value] = d.value(v, depth+1)
		}
		return values
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = d.value(item, depth+1)
		}
		return list
	}
	return scalar(n)
}

func scalar(n *yaml.Node) any {
	if n.Tag == "!!str" && n.Style == 0 {
		switch strings.ToLower(n.Value) {
		case "yes", "on":
			return true
		case "no", "off":
			return false
		}
	}
	if n.Tag == "!!timestamp" || n.Tag == "!!binary" {
		return n.Value
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return n.Value
	}
	return v
}

// locate returns the key or the element that a path such as
// healthchecks.active.type or paths[1] leads to, or what comes nearest to it.
func locate(n *yaml.Node, path string) *yaml.Node {
	at := n
	for path != "" {
		next, value, rest := step(n, path)
		if next == nil {
			break
		}
		at, n, path = next, value, rest
	}
	return at
}

// step finds the member that a path begins with: where to point at, its value,
// and the rest of the path.
func step(n *yaml.Node, path string) (at, value *yaml.Node, rest string) {
	for k, v := range pairs(n) {
		after, found := strings.CutPrefix(path, k.Value)
		if found && (after == "" || after[0] == '.' || after[0] == '[') {
			return k, v, strings.TrimPrefix(after, ".")
		}
	}
	for i, item := range items(n) {
		after, found := strings.CutPrefix(path, "["+strconv.Itoa(i)+"]")
		if found {
			return item, item, strings.TrimPrefix(after, ".")
		}
	}
	return nil, nil, ""
}
