package pluginserver

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/earlybird/earlybird/plugin/schema"
)

// protocol is the version of Kong's plugin protocol that Server speaks.
const protocol = "ProtoBuf:1"

// dumpedPlugin describes one plugin in a dump; Kong reads the first only.
type dumpedPlugin struct {
	Name     string
	Phases   []string
	Version  string
	Priority int
	Schema   schema.Schema
}

// WriteDump writes what Kong reads from a plugin's query_cmd, as one line of
// JSON.
func WriteDump(w io.Writer, d Definition, socket string) error {
	err := json.NewEncoder(w).Encode(struct {
		Protocol, SocketPath string
		Plugins              []dumpedPlugin
	}{protocol, socket, []dumpedPlugin{{d.Name, []string{d.Phase}, d.Version, d.Priority, d.Schema}}})
	if err != nil {
		return fmt.Errorf("write dump: %w", err)
	}
	return nil
}
