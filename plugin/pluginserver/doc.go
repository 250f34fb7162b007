// Package pluginserver serves one Kong plugin over Kong's plugin protocol
// "ProtoBuf:1" on a unix socket, with go-pdk's messages and a server of its own in
// place of go-pdk's.
//
// It differs from go-pdk's server as follows. It sends each call with one write
// and reads through a buffer. A handler that panics, decides nothing or runs too
// long ends in the plugin's [Fallback], for that request alone. Each of Kong's
// workers has instances of its own, which are dropped when it closes them. SIGTERM
// lets running handlers finish. Frames have a maximum size.
//
// Two behaviors of Kong shape it. Kong never answers kong.response.exit, so the
// server closes the connection after it. And when a connection closes in the middle
// of an event, Kong forgets every instance of the plugin and runs the handler again,
// without a limit. So an event for an unknown instance closes the connection on
// purpose, and a failure that would repeat itself never does.
package pluginserver
