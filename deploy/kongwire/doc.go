// Package kongwire is Kong's side of the plugin protocol "ProtoBuf:1": what a
// gateway does to run an external Go plugin. The stand-in gateway of the local
// stack and the tests of the plugins use it; Kong itself does not need it.
//
//	dump, err := kongwire.Query(ctx, "bin/earlybird-auth", "-dump", "-socket", path)
//	plugin := kongwire.NewPlugin(kongwire.Config{Name: dump.Plugins[0].Name, Socket: dump.SocketPath})
//	defer plugin.Close()
//	result, err := plugin.Handle(ctx, kongwire.Event{PluginID: id, Sequence: 1, Config: config, Phase: "access", PDK: pdk})
//
// It does what Kong 3.9 does in kong/runloop/plugin_servers: length and body of
// a frame are written separately, connections are pooled, an instance is started
// with the first event of a configuration and closed after the next configuration
// has replaced it, kong.response.exit is never answered, and an event whose
// connection was closed is run again with a new instance.
package kongwire
