package kong

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/earlybird/earlybird/plugin/schema"
	"github.com/earlybird/earlybird/plugin/settings"
)

// plugin checks one plugin: that Kong has it, and if it is the project's own,
// its whole configuration.
func (c *checker) plugin(n *yaml.Node, path string) {
	c.fields(n, path, pluginFields)
	name := get(n, "name")
	if name == nil {
		c.fault(n, path, "required field missing: name")
		return
	}
	if s, ok := settings.Schemas()[name.Value]; ok {
		c.config(n, path, s)
		return
	}
	if !slices.Contains(bundled, name.Value) {
		c.fault(name, path, "Kong has no plugin of this name; the project's own are %s and %s, all others come with Kong", PluginAuth, PluginTag)
	}
}

// config holds a plugin's config against its schema.
func (c *checker) config(plugin *yaml.Node, path string, s schema.Schema) {
	node := get(plugin, "config")
	values := map[string]any{}
	if node != nil {
		if err := node.Decode(&values); err != nil {
			c.fault(node, join(path, "config"), "expected a mapping of fields to values")
			return
		}
	}
	for _, f := range schema.Validate(s, values) {
		at := plugin
		if node != nil {
			at = node
		}
		for k := range pairs(node) {
			if k.Value == f.Field {
				at = k
			}
		}
		c.fault(at, join(path, "config."+f.Field), "%s", advice(s.Config(), f))
	}
}

// advice adds to a schema's fault what to do about it.
func advice(config schema.Spec, f schema.Fault) string {
	var names []string
	for _, field := range config.Fields {
		if field.Name == f.Field {
			return message(field.Spec, f) + " (" + field.Spec.Description + ")"
		}
		names = append(names, field.Name)
	}
	slices.Sort(names)
	return f.Message + "; remove it, or use one of: " + strings.Join(names, ", ")
}

// message is the schema's own, unless it might repeat a secret.
func message(spec schema.Spec, f schema.Fault) string {
	if spec.Encrypted && strings.HasPrefix(f.Message, "invalid value") {
		return "invalid value"
	}
	return f.Message
}
