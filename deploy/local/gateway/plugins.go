package gateway

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// handler is one configured plugin. A phase it has no part in is nil.
type handler struct {
	name     string
	priority int
	// access runs before the service is asked, response when the whole answer
	// is there. An error is answered with 500.
	access, response func(context.Context, *exchange) error
	// header changes the headers of any answer last of all.
	header func(*exchange, http.Header)
}

// bundled are the plugins of Kong's own that the stand-in does itself.
var bundled = map[string]func(*options) handler{
	"correlation-id":        correlationID,
	"request-size-limiting": requestSizeLimiting,
	"rate-limiting":         rateLimiting,
	"pre-function":          preFunction,
	"cors":                  cors,
}

// plugins configures the plugins of the file, of a service or of a route;
// where says which, for faults.
func (b *builder) plugins(where string, entities []pluginEntity) []handler {
	var all []handler
	for _, entity := range entities {
		if !entity.enabled() {
			continue
		}
		if external, ok := b.cfg.External[entity.Name]; ok {
			all = append(all, b.external(where, entity, external))
		} else if build, ok := bundled[entity.Name]; ok {
			o := &options{values: entity.Config, where: where + "plugin '" + entity.Name + "' ", builder: b}
			h := build(o)
			h.name = entity.Name
			o.rest(entity.Name)
			all = append(all, h)
		} else {
			b.skip("plugin " + entity.Name)
		}
	}
	return all
}

// options reads a bundled plugin's config and forgets what it has read, so
// that what is left over is known not to be emulated.
type options struct {
	values  map[string]any
	where   string
	builder *builder
	read    map[string]bool
}

func take[T any](o *options, field string, fallback T) T {
	if o.read == nil {
		o.read = map[string]bool{}
	}
	o.read[field] = true
	value, given := o.values[field]
	if !given || value == nil {
		return fallback
	}
	typed, ok := value.(T)
	if !ok {
		o.builder.fault("%sin '%s': expected %T", o.where, field, fallback)
		return fallback
	}
	return typed
}

// texts reads a list of strings.
func texts(o *options, field string) []string {
	var all []string
	for _, item := range take(o, field, []any{}) {
		all = append(all, fmt.Sprint(item))
	}
	return all
}

// rest names the fields that were not read.
func (o *options) rest(plugin string) {
	for _, field := range slices.Sorted(maps.Keys(o.values)) {
		if !o.read[field] {
			o.builder.skip(fmt.Sprintf("plugin %s: config.%s", plugin, field))
		}
	}
}
