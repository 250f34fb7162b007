package kong

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Fault is one thing wrong with a declarative configuration.
type Fault struct {
	Line    int    // counted from 1
	Field   string // the path to it, such as services.identity.routes.login.paths
	Problem string // what is wrong and how to put it right
}

func (f Fault) String() string {
	if f.Field == "" {
		return fmt.Sprintf("line %d: %s", f.Line, f.Problem)
	}
	return fmt.Sprintf("line %d: %s: %s", f.Line, f.Field, f.Problem)
}

// Faults is the error of [Validate]: everything that is wrong, by line.
type Faults []Fault

func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// formatVersion is the one version of Kong's format that is understood: in
// older ones a path means something else.
const formatVersion = "3.0"

// Validate holds a kong.yml against what Kong 3.9 with the two plugins accepts:
// its version, the names of its entities and their fields, what refers to what,
// and every config field of earlybird-auth and earlybird-tag. The error is
// Faults, or says why data is not YAML. No fault repeats a Redis URL.
//
// The configuration of plugins that come with Kong is Kong's to check.
func Validate(data []byte) error {
	doc, err := parse(data)
	if err != nil {
		return fmt.Errorf("not a declarative configuration: %w", err)
	}
	c := &checker{known: map[string]map[string]bool{}}
	c.duplicates(doc, "")
	c.version(doc)
	c.fields(doc, "", topLevel)
	c.learn(doc)
	c.entities(doc)
	if len(c.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(c.faults, func(a, b Fault) int { return a.Line - b.Line })
	return c.faults
}

// checker collects faults, and knows the names and ids of each kind of entity.
type checker struct {
	faults Faults
	known  map[string]map[string]bool
}

func (c *checker) fault(n *yaml.Node, field, format string, args ...any) {
	c.faults = append(c.faults, Fault{n.Line, field, fmt.Sprintf(format, args...)})
}

// duplicates finds keys that are given twice in one mapping: the last would
// win without a word.
func (c *checker) duplicates(n *yaml.Node, path string) {
	seen := map[string]int{}
	for k, v := range pairs(n) {
		at := join(path, k.Value)
		if line, twice := seen[k.Value]; twice {
			c.fault(k, at, "given before, on line %d; remove one of the two", line)
		}
		seen[k.Value] = k.Line
		if v.Kind != yaml.AliasNode {
			c.duplicates(v, at)
		}
	}
	for i, v := range items(n) {
		if v.Kind != yaml.AliasNode {
			c.duplicates(v, fmt.Sprintf("%s[%d]", path, i))
		}
	}
}

func (c *checker) version(doc *yaml.Node) {
	v := get(doc, "_format_version")
	switch {
	case v == nil:
		c.fault(doc, "_format_version", `required field missing; add _format_version: "3.0"`)
	case v.Value != formatVersion:
		c.fault(v, "_format_version", `%q is not understood; write "3.0" (in older versions a path means something else)`, v.Value)
	case v.Tag != "!!str":
		c.fault(v, "_format_version", `expected a string; write "3.0" in quotes`)
	}
}

// fields finds members of a mapping that Kong does not know.
func (c *checker) fields(n *yaml.Node, path string, allowed []string) {
	for k := range pairs(n) {
		if !slices.Contains(allowed, k.Value) {
			c.fault(k, join(path, k.Value), "unknown field; remove it, or use one of: %s", strings.Join(allowed, ", "))
		}
	}
}

// learn remembers what can be referred to, and finds names given twice.
func (c *checker) learn(doc *yaml.Node) {
	lists := map[string][]*yaml.Node{
		"services": items(get(doc, "services")), "routes": routeNodes(doc),
		"upstreams": items(get(doc, "upstreams")), "consumers": items(get(doc, "consumers")),
	}
	for kind, list := range lists {
		c.known[kind] = map[string]bool{}
		for _, n := range list {
			for _, key := range []string{"name", "username", "id"} {
				v := get(n, key)
				if v == nil {
					continue
				}
				if c.known[kind][v.Value] {
					c.fault(v, kind+"."+v.Value, "another of the %s has this %s; give each its own", kind, key)
				}
				c.known[kind][v.Value] = true
			}
		}
	}
}

// entities checks every entity, where it stands.
func (c *checker) entities(doc *yaml.Node) {
	c.each(doc, "", "upstreams", c.upstream)
	c.each(doc, "", "targets", func(n *yaml.Node, path string) {
		c.fields(n, path, targetFields)
		c.refers(n, path, "upstream", "upstreams", true)
	})
	c.each(doc, "", "services", c.service)
	c.each(doc, "", "routes", func(n *yaml.Node, path string) {
		c.route(n, path)
		c.refers(n, path, "service", "services", false)
	})
	c.each(doc, "", "plugins", func(n *yaml.Node, path string) {
		c.plugin(n, path)
		c.refers(n, path, "service", "services", false)
		c.refers(n, path, "route", "routes", false)
		c.refers(n, path, "consumer", "consumers", false)
	})
}

// each calls check for every element of the list that n has under kind.
func (c *checker) each(n *yaml.Node, path, kind string, check func(n *yaml.Node, path string)) {
	list := get(n, kind)
	if list == nil {
		return
	}
	at := join(path, kind)
	if list.Kind != yaml.SequenceNode {
		c.fault(list, at, "expected a list; begin each element with a dash")
		return
	}
	for i, item := range list.Content {
		item = resolve(item)
		label := at + "[" + strconv.Itoa(i) + "]"
		if item.Kind != yaml.MappingNode {
			c.fault(item, label, "expected a mapping of fields to values")
			continue
		}
		if name := get(item, "name"); name != nil {
			label = join(at, name.Value)
		}
		check(item, label)
	}
}

// refers checks that what n refers to under key is in the file.
func (c *checker) refers(n *yaml.Node, path, key, kind string, required bool) {
	ref := get(n, key)
	if ref == nil {
		if required {
			c.fault(n, join(path, key), "required field missing; name one of the %s", kind)
		}
		return
	}
	name := ref
	for _, k := range []string{"id", "name"} {
		if v := get(ref, k); v != nil {
			name = v
		}
	}
	if !c.known[kind][name.Value] {
		c.fault(name, join(path, key), "there is no such element of %s in this file: %q", kind, name.Value)
	}
}

func (c *checker) upstream(n *yaml.Node, path string) {
	c.fields(n, path, upstreamFields)
	c.required(n, path, "name", "the name that a service's host refers to")
	c.each(n, path, "targets", func(n *yaml.Node, path string) {
		c.fields(n, path, targetFields)
		c.required(n, path, "target", "a host and port, such as identity:8081")
	})
}

func (c *checker) service(n *yaml.Node, path string) {
	c.fields(n, path, serviceFields)
	if get(n, "url") == nil {
		c.required(n, path, "host", "a host name or the name of an upstream")
	}
	if v := get(n, "protocol"); v != nil && !slices.Contains(protocols, v.Value) {
		c.fault(v, join(path, "protocol"), "expected one of: %s", strings.Join(protocols, ", "))
	}
	if v := get(n, "port"); v != nil {
		if p, err := strconv.Atoi(v.Value); err != nil || p < 0 || p > 65535 {
			c.fault(v, join(path, "port"), "value should be between 0 and 65535")
		}
	}
	c.each(n, path, "routes", c.route)
	c.each(n, path, "plugins", c.plugin)
}

var method = regexp.MustCompile(`^[A-Z]+$`)

func (c *checker) route(n *yaml.Node, path string) {
	c.fields(n, path, routeFields)
	if !slices.ContainsFunc(matchers, func(m string) bool { return get(n, m) != nil }) {
		c.fault(n, path, "matches nothing; set one of: %s", strings.Join(matchers, ", "))
	}
	for _, v := range items(get(n, "methods")) {
		if !method.MatchString(v.Value) {
			c.fault(v, join(path, "methods"), "%q is not a method; write it in capitals, such as GET", v.Value)
		}
	}
	for _, v := range items(get(n, "paths")) {
		c.path(resolve(v), join(path, "paths"))
	}
	c.each(n, path, "plugins", c.plugin)
}

// path checks a route's path: a prefix that begins with a slash, or a tilde and
// a regular expression that begins with one.
func (c *checker) path(v *yaml.Node, field string) {
	expression, isRegex := strings.CutPrefix(v.Value, "~")
	if !strings.HasPrefix(expression, "/") {
		c.fault(v, field, "%q should start with: / (fixed path) or ~/ (regular expression)", v.Value)
		return
	}
	if !isRegex {
		return
	}
	if _, err := regexp.Compile(expression); err != nil {
		c.fault(v, field, "%q is not a regular expression: %v", v.Value, err)
	}
}

func (c *checker) required(n *yaml.Node, path, key, what string) {
	if v := get(n, key); v == nil || v.Value == "" {
		c.fault(n, join(path, key), "required field missing; add it: %s", what)
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
