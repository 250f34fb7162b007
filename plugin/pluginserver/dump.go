package pluginserver

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/earlybird/earlybird/plugin/kongwire"
)

// WriteDump writes what Kong reads from a plugin's query_cmd, as one line of
// JSON.
func WriteDump(w io.Writer, d Definition, socket string) error {
	err := json.NewEncoder(w).Encode(kongwire.Dump{
		Protocol: kongwire.Protocol, SocketPath: socket,
		Plugins: []kongwire.PluginInfo{{
			Name: d.Name, Phases: []string{d.Phase}, Version: d.Version, Priority: d.Priority, Schema: d.Schema,
		}},
	})
	if err != nil {
		return fmt.Errorf("write dump: %w", err)
	}
	return nil
}
