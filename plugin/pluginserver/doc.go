// Package pluginserver serves one Kong plugin over Kong's plugin protocol
// "ProtoBuf:1" on a unix socket: go-pdk's messages and PDK types, with a server
// of its own in place of go-pdk's.
//
// What it does that the other does not: it writes each turn at once and reads
// through a buffer; a panic, a handler that decides nothing and one that runs
// too long end in the plugin's [Fallback] for that request alone; instances are
// known by Kong's sequence number and forgotten when closed; SIGTERM lets
// running handlers finish; frames have a limit.
//
// Two habits of Kong shape it. Kong never answers kong.response.exit, so the
// connection ends after it. And when a connection ends in the middle of an
// event, Kong forgets every instance of the plugin and runs the handler again,
// without a limit: so an event for an unknown instance ends the connection on
// purpose, and nothing that would fail again the same way ever does.
package pluginserver
