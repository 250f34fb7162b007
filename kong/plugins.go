package kong

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/earlybird/earlybird/plugin/schema"
	"github.com/earlybird/earlybird/plugin/settings"
)

// plugin checks one plugin: that Kong has it, and its whole configuration if
// its schema is known here.
func (c *checker) plugin(n *yaml.Node, path string) {
	c.entity(n, path, pluginEntity, "config")
	name := get(n, "name")
	if name == nil || name.Value == "" {
		return // the entity's schema says so
	}
	own, isOwn := c.plugins[name.Value]
	ofKong, isKnown := bundledConfigs[name.Value]
	switch {
	case isOwn:
		c.config(n, path, own.Config())
	case isKnown:
		c.config(n, path, ofKong)
		c.httpOnly(n, path, name.Value)
		c.lua(n, path, name.Value)
	case slices.Contains(bundled, name.Value):
		c.skip("the config of " + path)
	default:
		c.fault(name, path, "Kong has no plugin of this name; the project's own are %s and %s, all others come with Kong", settings.AuthName, settings.TagName)
	}
}

// config holds a plugin's config against its schema.
func (c *checker) config(plugin *yaml.Node, path string, spec schema.Spec) {
	path = join(path, "config")
	node := get(plugin, "config")
	if node == nil || node.Tag == "!!null" {
		c.record(plugin, path, spec, nil)
		return
	}
	values, problem := decode(node)
	if problem != "" {
		c.fault(node, path, "%s", problem)
		return
	}
	c.record(node, path, spec, values)
}

// httpOnly finds protocols of a plugin that it does not run for.
func (c *checker) httpOnly(plugin *yaml.Node, path, name string) {
	for _, p := range items(get(plugin, "protocols")) {
		if httpOnly[name] && slices.Contains(protocols, p.Value) && !slices.Contains(httpProtocols, p.Value) {
			c.fault(p, join(path, "protocols"), "%s does not run for %s", name, p.Value)
		}
	}
}

// lua names functions of a pre-function that are more than the one known here.
func (c *checker) lua(plugin *yaml.Node, path, name string) {
	if name != "pre-function" {
		return
	}
	for phase, list := range pairs(get(plugin, "config")) {
		for _, code := range items(list) {
			if _, known := ClearedHeader(code.Value); !known {
				c.skip("the Lua of " + join(join(path, "config"), phase.Value))
			}
		}
	}
}
