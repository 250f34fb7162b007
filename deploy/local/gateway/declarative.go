package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// declarative is a kong.yml of format 3.0: what the stand-in knows of it. A
// field that is not here is a fault, so that nothing is left out in silence.
type declarative struct {
	FormatVersion string           `yaml:"_format_version"`
	Upstreams     []upstreamEntity `yaml:"upstreams"`
	Services      []serviceEntity  `yaml:"services"`
	Plugins       []pluginEntity   `yaml:"plugins"`
}

type upstreamEntity struct {
	Name         string             `yaml:"name"`
	Algorithm    string             `yaml:"algorithm"`
	Tags         []string           `yaml:"tags"`
	Targets      []targetEntity     `yaml:"targets"`
	Healthchecks healthchecksEntity `yaml:"healthchecks"`
}

type targetEntity struct {
	Target string   `yaml:"target"`
	Weight *int     `yaml:"weight"`
	Tags   []string `yaml:"tags"`
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
	URL            string         `yaml:"url"`
	Protocol       string         `yaml:"protocol"`
	Host           string         `yaml:"host"`
	Port           int            `yaml:"port"`
	Path           string         `yaml:"path"`
	ConnectTimeout int            `yaml:"connect_timeout"`
	WriteTimeout   int            `yaml:"write_timeout"`
	ReadTimeout    int            `yaml:"read_timeout"`
	Retries        *int           `yaml:"retries"`
	Tags           []string       `yaml:"tags"`
	Routes         []routeEntity  `yaml:"routes"`
	Plugins        []pluginEntity `yaml:"plugins"`
}

type routeEntity struct {
	Name          string         `yaml:"name"`
	Protocols     []string       `yaml:"protocols"`
	Methods       []string       `yaml:"methods"`
	Hosts         []string       `yaml:"hosts"`
	Paths         []string       `yaml:"paths"`
	RegexPriority int            `yaml:"regex_priority"`
	StripPath     *bool          `yaml:"strip_path"`
	PreserveHost  bool           `yaml:"preserve_host"`
	Tags          []string       `yaml:"tags"`
	Plugins       []pluginEntity `yaml:"plugins"`
}

type pluginEntity struct {
	Name    string         `yaml:"name"`
	Enabled *bool          `yaml:"enabled"`
	Tags    []string       `yaml:"tags"`
	Config  map[string]any `yaml:"config"`
}

func (p pluginEntity) enabled() bool { return p.Enabled == nil || *p.Enabled }

// parse reads a declarative file that Kong accepts; the error lists every field
// that the stand-in does not know.
func parse(text []byte) (declarative, error) {
	var file declarative
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return declarative{}, fmt.Errorf("read kong.yml: %w", err)
	}
	return file, nil
}
