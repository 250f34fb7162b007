package kongwire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"

	"github.com/earlybird/earlybird/plugin/schema"
)

// Protocol is the version of Kong's plugin protocol that is spoken here.
const Protocol = "ProtoBuf:1"

// Dump is what a plugin's query_cmd prints.
type Dump struct {
	Protocol   string
	SocketPath string
	Plugins    []PluginInfo
}

// PluginInfo is one plugin in a Dump; Kong looks at the first only.
type PluginInfo struct {
	Name     string
	Phases   []string
	Version  string
	Priority int
	Schema   schema.Schema
}

// Query runs a plugin's query command and reads its dump.
func Query(ctx context.Context, command string, args ...string) (Dump, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, command, args...) //nolint:gosec // G204: the caller names the plugin's executable.
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return Dump{}, fmt.Errorf("query plugin %s: %w: %s", command, err, bytes.TrimSpace(stderr.Bytes()))
	}
	d, err := ParseDump(out)
	if err != nil {
		return Dump{}, fmt.Errorf("query plugin %s: %w", command, err)
	}
	return d, nil
}

// ParseDump reads a dump and refuses what Kong could not use.
func ParseDump(data []byte) (Dump, error) {
	var d Dump
	if err := json.Unmarshal(data, &d); err != nil {
		return Dump{}, fmt.Errorf("decode dump: %w", err)
	}
	switch {
	case d.Protocol != Protocol:
		return Dump{}, fmt.Errorf("dump: protocol is %q, want %q", d.Protocol, Protocol)
	case d.SocketPath == "":
		return Dump{}, errors.New("dump: no SocketPath")
	case len(d.Plugins) == 0 || d.Plugins[0].Name == "" || len(d.Plugins[0].Phases) == 0:
		return Dump{}, errors.New("dump: no plugin with a name and a phase")
	}
	return d, nil
}
