package kong

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/earlybird/earlybird/plugin/schema"
	"github.com/earlybird/earlybird/plugin/settings"
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

// Result is what a check found, and what it did not look at.
type Result struct {
	Faults Faults
	// Unchecked names parts of the file that only Kong can judge, such as
	// the config of a plugin that this project does not use.
	Unchecked []string
}

// Validate is Check with the schemas of earlybird-auth and earlybird-tag. The
// error is Faults, or says why data is not YAML.
func Validate(data []byte) error {
	result, err := Check(data, settings.Schemas())
	if err == nil && len(result.Faults) > 0 {
		err = result.Faults
	}
	return err
}

// Check holds a kong.yml against what Kong 3.9 with the plugins of the given
// schemas accepts: its version, its entities with the types and ranges of their
// fields, what refers to what, and the config of these plugins and of the
// bundled ones that the project uses. The error says why data is not YAML.
// Neither it nor a fault repeats a URL or a header.
func Check(data []byte, plugins map[string]schema.Schema) (Result, error) {
	doc, err := parse(data)
	if err != nil {
		return Result{}, fmt.Errorf("not a declarative configuration: %w", err)
	}
	c := &checker{known: map[string]map[string]bool{}, plugins: plugins}
	c.duplicates(doc, "")
	c.version(doc)
	c.top(doc)
	c.learn(doc)
	c.entities(doc)
	slices.SortStableFunc(c.faults, func(a, b Fault) int { return a.Line - b.Line })
	return Result{Faults: c.faults, Unchecked: c.unchecked}, nil
}

// checker collects faults, and knows the names and ids of each kind of entity.
type checker struct {
	faults    Faults
	unchecked []string
	known     map[string]map[string]bool
	plugins   map[string]schema.Schema
}

// skip notes what is not checked.
func (c *checker) skip(what string) {
	if !slices.Contains(c.unchecked, what) {
		c.unchecked = append(c.unchecked, what)
	}
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

// top finds top-level members that Kong does not know, and those that are not
// checked here.
func (c *checker) top(doc *yaml.Node) {
	for k, v := range pairs(doc) {
		switch {
		case !slices.Contains(topLevel, k.Value):
			c.fault(k, k.Value, "unknown field; remove it, or use one of: %s", strings.Join(topLevel, ", "))
		case slices.Contains(judged, k.Value):
		case resolve(v).Kind != yaml.ScalarNode && len(resolve(v).Content) > 0:
			c.skip(k.Value)
		}
	}
}

// entity holds one entity against its schema. The members named apart are
// checked elsewhere.
func (c *checker) entity(n *yaml.Node, path string, spec schema.Spec, apart ...string) {
	values, problem := decode(n)
	if problem != "" {
		c.fault(n, path, "%s", problem)
		return
	}
	for _, name := range apart {
		delete(values, name)
	}
	c.record(n, path, spec, values)
}

// record adds the faults of a record that stands at n.
func (c *checker) record(n *yaml.Node, path string, spec schema.Spec, values map[string]any) {
	for _, f := range schema.Check(spec, values) {
		at := path
		if f.Field != "" {
			at = join(path, f.Field)
		}
		c.fault(locate(n, f.Field), at, "%s", advice(f))
	}
}

// advice adds to a schema's fault what to do about it.
func advice(f schema.Fault) string {
	switch {
	case f.Message == schema.UnknownField:
		return f.Message + "; remove it, or use one of: " + f.Hint
	case f.Hint != "":
		return f.Message + " (" + f.Hint + ")"
	}
	return f.Message
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
		c.entity(n, path, targetEntity)
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
	c.entity(n, path, upstreamEntity, "targets")
	c.each(n, path, "targets", func(n *yaml.Node, path string) { c.entity(n, path, targetEntity) })
}

func (c *checker) service(n *yaml.Node, path string) {
	c.entity(n, path, serviceEntity, "routes", "plugins")
	if get(n, "url") == nil && get(n, "host") == nil {
		c.fault(n, join(path, "host"), "required field missing; add it: a host name or the name of an upstream")
	}
	c.each(n, path, "routes", c.route)
	c.each(n, path, "plugins", c.plugin)
}

func (c *checker) route(n *yaml.Node, path string) {
	c.entity(n, path, routeEntity, "plugins")
	c.each(n, path, "plugins", c.plugin)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
