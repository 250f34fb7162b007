// Package stack runs all of Earlybird on one machine: an embedded MongoDB,
// Redis, the identity service, both plugins, and the stand-in for Kong.
package stack

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// Config says where everything is. Addresses are host:port.
type Config struct {
	Gateway   string // empty: no gateway and no plugins
	Identity  string
	Mongo     string
	Redis     string
	Data      string // folder of the state
	Programs  string // folder of the project's programs
	Miniredis bool   // use the embedded Redis, also when redis-server is there
	LogLevel  slog.Level
	Stdout    io.Writer // what is for the person who started it
	Stderr    io.Writer // logs
}

// An endpoint is one address the stack listens on.
type endpoint struct{ what, flag, address, instead string }

func (c Config) endpoints() []endpoint {
	return []endpoint{
		{"the gateway", "--gateway", c.Gateway, "127.0.0.1:8010"},
		{"the identity service", "--identity", c.Identity, "127.0.0.1:8091"},
		{"MongoDB", "--mongo", c.Mongo, "127.0.0.1:27127"},
		{"Redis", "--redis", c.Redis, "127.0.0.1:6489"},
	}
}

// check reports every address that cannot be listened on, and every program
// that is not there.
func (c Config) check() error {
	var faults []error
	for _, e := range c.endpoints() {
		if e.address != "" {
			faults = append(faults, e.check())
		}
	}
	programs := []string{identityProgram}
	if c.Gateway != "" {
		programs = append(programs, plugins...)
	}
	for _, name := range programs {
		if _, err := os.Stat(c.program(name)); err != nil {
			faults = append(faults, fmt.Errorf("%s is not there: build it with `make build`", c.program(name)))
		}
	}
	return errors.Join(faults...)
}

func (e endpoint) check() error {
	_, port, err := net.SplitHostPort(e.address)
	if err != nil || port == "" || port == "0" {
		return fmt.Errorf("%s %q: must be host:port, such as %s", e.flag, e.address, e.instead)
	}
	listener, err := net.Listen("tcp", e.address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %s, for %s, is in use at %s: stop what listens there, or choose another address, such as %s %s",
			port, e.what, e.address, e.flag, e.instead)
	case err != nil:
		return fmt.Errorf("%s %s: %w", e.flag, e.address, err)
	}
	return listener.Close()
}

func (c Config) program(name string) string { return filepath.Join(c.Programs, name+executableSuffix) }

func (c Config) identityURL() string { return "http://" + reachable(c.Identity) }

func (c Config) mongoURL() string { return "mongodb://" + reachable(c.Mongo) + "/earlybird" }

func (c Config) redisURL() string { return "redis://" + reachable(c.Redis) + "/0" }

// reachable is an address to connect to for one to listen on: a wildcard is
// not one.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

// The default addresses, which are the command line's defaults too.
const (
	DefaultGateway  = "127.0.0.1:8000"
	DefaultIdentity = "127.0.0.1:8081"
	DefaultMongo    = "127.0.0.1:27117"
	DefaultRedis    = "127.0.0.1:6479"
)
