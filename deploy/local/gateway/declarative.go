package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// declarative is what the stand-in knows of a kong.yml: what the project's own
// uses. Any other field is a fault, so that nothing is left out in silence.
type declarative struct {
	FormatVersion string           `yaml:"_format_version"`
	Upstreams     []upstreamEntity `yaml:"upstreams"`
	Services      []serviceEntity  `yaml:"services"`
	Plugins       []pluginEntity   `yaml:"plugins"`
}

type upstreamEntity struct {
	Name         string             `yaml:"name"`
	Algorithm    string             `yaml:"algorithm"`
	Targets      []targetEntity     `yaml:"targets"`
	Healthchecks healthchecksEntity `yaml:"healthchecks"`
}

type targetEntity struct {
	Target string `yaml:"target"`
}

type healthchecksEntity struct {
	Active activeEntity `yaml:"active"`
}

// activeEntity is an upstream's active health check; times in seconds, an
// interval of 0 means no check.
type activeEntity struct {
	Type        string  `yaml:"type"`
	HTTPPath    string  `yaml:"http_path"`
	Timeout     float64 `yaml:"timeout"`
	Concurrency int     `yaml:"concurrency"`
	Healthy     struct {
		Interval     float64 `yaml:"interval"`
		Successes    int     `yaml:"successes"`
		HTTPStatuses []int   `yaml:"http_statuses"`
	} `yaml:"healthy"`
	Unhealthy struct {
		Interval     float64 `yaml:"interval"`
		TCPFailures  int     `yaml:"tcp_failures"`
		Timeouts     int     `yaml:"timeouts"`
		HTTPFailures int     `yaml:"http_failures"`
		HTTPStatuses []int   `yaml:"http_statuses"`
	} `yaml:"unhealthy"`
}

// serviceEntity is a service; its timeouts are in milliseconds.
type serviceEntity struct {
	Name           string         `yaml:"name"`
	Protocol       string         `yaml:"protocol"`
	Host           string         `yaml:"host"`
	Port           int            `yaml:"port"`
	ConnectTimeout int            `yaml:"connect_timeout"`
	WriteTimeout   int            `yaml:"write_timeout"`
	ReadTimeout    int            `yaml:"read_timeout"`
	Retries        int            `yaml:"retries"`
	Routes         []routeEntity  `yaml:"routes"`
	Plugins        []pluginEntity `yaml:"plugins"`
}

type routeEntity struct {
	Name         string         `yaml:"name"`
	Methods      []string       `yaml:"methods"`
	Paths        []string       `yaml:"paths"`
	StripPath    *bool          `yaml:"strip_path"`
	PreserveHost bool           `yaml:"preserve_host"`
	Plugins      []pluginEntity `yaml:"plugins"`
}

type pluginEntity struct {
	Name    string         `yaml:"name"`
	Enabled *bool          `yaml:"enabled"`
	Config  map[string]any `yaml:"config"`
}

func (p pluginEntity) enabled() bool { return p.Enabled == nil || *p.Enabled }

// parse reads a declarative file. The error lists every field that the stand-in
// does not know.
func parse(text []byte) (declarative, error) {
	var file declarative
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return declarative{}, fmt.Errorf("read kong.yml: %w", err)
	}
	return file, nil
}
