package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/plugin/schema"
)

// External is a plugin that runs as a program of its own.
type External struct {
	Info   kongwire.PluginInfo // from the program's dump
	Plugin *kongwire.Plugin    // the way to its socket
}

// externalTimeout bounds the wait for a plugin, as kong.conf's
// nginx_http_lua_socket_read_timeout does.
const externalTimeout = 10 * time.Second

// external configures one plugin entry: it fills in defaults and resolves vault
// references.
func (b *builder) external(where string, entity pluginEntity, external External) handler {
	b.sequence++
	id, sequence := uuid(), b.sequence
	for _, f := range schema.Validate(external.Info.Schema, entity.Config) {
		b.fault("%s%s", where, f)
	}
	config := schema.Fill(external.Info.Schema, entity.Config)
	if refs := b.resolve(where, external.Info.Schema, config); len(refs) > 0 {
		config["$refs"] = refs
	}
	config["__seq__"], config["__plugin_id"] = sequence, id
	config["__key__"], config["__ws_id"] = "plugins:"+entity.Name+":"+id, "default"
	encoded, err := json.Marshal(config)
	if err != nil {
		b.fault("%s%w", where, err)
	}
	h := handler{name: entity.Name, priority: external.Info.Priority}
	run := func(phase string) func(context.Context, *exchange) error {
		if !slices.Contains(external.Info.Phases, phase) {
			return nil
		}
		return func(ctx context.Context, e *exchange) error {
			return e.runExternal(ctx, external.Plugin, kongwire.Event{
				PluginID: id, Sequence: sequence, Config: encoded, Phase: phase, PDK: (&pdk{exchange: e, phase: phase}).call,
			})
		}
	}
	h.access, h.response = run("access"), run("response")
	return h
}

// resolve puts values in the place of references such as
// {vault://env/earlybird-redis-url}, and returns the references by field. One
// that has no value becomes an empty string, as in Kong.
func (b *builder) resolve(where string, s schema.Schema, config map[string]any) map[string]any {
	refs := map[string]any{}
	for _, field := range s.Config().Fields {
		text, _ := config[field.Name].(string)
		if !field.Spec.Referenceable || !schema.IsReference(text) {
			continue
		}
		refs[field.Name] = text
		secret, isEnv := strings.CutPrefix(strings.TrimSuffix(text, "}"), "{vault://env/")
		if !isEnv || strings.ContainsAny(secret, "/?#") {
			b.skip(where + "reference " + text + " (only {vault://env/NAME} is resolved)")
		}
		name := strings.ToUpper(strings.ReplaceAll(secret, "-", "_"))
		config[field.Name] = b.cfg.Getenv(name)
		if config[field.Name] == "" {
			b.cfg.Log.Warn("a vault reference has no value", "reference", text, "variable", name)
		}
	}
	return refs
}

// runExternal runs one phase of an external plugin and takes its exit over. As
// in Kong, it goes on when the client hangs up.
func (e *exchange) runExternal(ctx context.Context, plugin *kongwire.Plugin, event kongwire.Event) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), externalTimeout)
	defer cancel()
	result, err := plugin.Handle(ctx, event)
	if err != nil || result.Exit == nil {
		return err
	}
	header := http.Header{}
	for name, values := range result.Exit.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	e.exit = newReply(result.Exit.Status, header, result.Exit.Body)
	return nil
}
