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
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/earlybird/earlybird/deploy/local/mongodb"
)

// Config says where everything is. Addresses are host:port.
type Config struct {
	Gateway   string // empty: no gateway and no plugins
	Identity  string
	Mongo     string
	Redis     string
	Shop      string // empty: a free port of this machine
	Data      string // folder of the state
	Programs  string // folder of the project's programs
	Miniredis bool   // use the embedded Redis, also when redis-server is there
	// Registration is identity's setting of this name: open or code.
	Registration string
	// RedisServer is the program to start as Redis; empty: redis-server from PATH,
	// else the embedded one.
	RedisServer string
	LogLevel    slog.Level
	Stdout      io.Writer // what is for the person who started it
	Stderr      io.Writer // logs
}

// An endpoint is one address the stack listens on.
type endpoint struct{ what, flag, address, instead string }

func (c Config) endpoints() []endpoint {
	return []endpoint{
		{"the gateway", "--gateway", c.Gateway, "127.0.0.1:8010"},
		{"the identity service", "--identity", c.Identity, "127.0.0.1:8091"},
		{"MongoDB", "--mongo", c.Mongo, "127.0.0.1:27127"},
		{"Redis", "--redis", c.Redis, "127.0.0.1:6489"},
		{"the shop", "--shop", c.Shop, "127.0.0.1:8092"},
	}
}

// used are the endpoints that this stack listens on, at addresses that were
// chosen.
func (c Config) used() []endpoint {
	return slices.DeleteFunc(c.endpoints(), func(e endpoint) bool {
		return e.address == "" && (e.flag == "--gateway" || e.flag == "--shop")
	})
}

// Validate reports everything that is wrong with the settings themselves,
// whatever else runs on this machine.
func (c Config) Validate() error {
	var faults []error
	used := c.used()
	for i, e := range used {
		faults = append(faults, e.validate())
		for _, before := range used[:i] {
			if same(before.address, e.address) {
				faults = append(faults, fmt.Errorf("%s and %s are both %s: give each an address of its own, such as %s %s",
					before.flag, e.flag, e.address, e.flag, e.instead))
			}
		}
	}
	return errors.Join(append(faults, c.validateData())...)
}

func (c Config) validateData() error {
	if c.Data == "" {
		return errors.New("--data: must name a folder, such as var")
	}
	data, err := filepath.Abs(c.Data)
	if err != nil {
		return fmt.Errorf("--data %q: %w", c.Data, err)
	}
	if info, err := os.Stat(data); err == nil && !info.IsDir() {
		return fmt.Errorf("--data %q: is a file; name a folder", c.Data)
	}
	if err := mongodb.CheckDir(data); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	return nil
}

// hostForm is what a host name may be made of, or nothing for every address.
var hostForm = regexp.MustCompile(`^[0-9A-Za-z._-]*$`)

func (e endpoint) validate() error {
	host, port, err := net.SplitHostPort(e.address)
	number, errPort := strconv.ParseUint(port, 10, 16)
	bare, _, _ := strings.Cut(host, "%")
	if err != nil || errPort != nil || number == 0 || net.ParseIP(bare) == nil && !hostForm.MatchString(host) {
		return fmt.Errorf("%s %q: must be host:port with a port from 1 to 65535, such as %s", e.flag, e.address, e.instead)
	}
	return nil
}

// same reports whether only one of two addresses can be listened on. That two
// names are one host shows when they are listened on.
func same(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	return errA == nil && errB == nil && portA == portB &&
		(reachable(a) == reachable(b) || wildcard(hostA) || wildcard(hostB))
}

// check reports every address that cannot be listened on, and every program
// that is not there. It listens on all at once, to find two that are one.
func (c Config) check() error {
	var faults []error
	for _, e := range c.used() {
		listener, err := e.listen()
		if err != nil {
			faults = append(faults, err)
			continue
		}
		defer func() { _ = listener.Close() }()
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
	if _, err := exec.LookPath(c.RedisServer); c.RedisServer != "" && err != nil {
		faults = append(faults, fmt.Errorf("--redis-server: %w", err))
	}
	return errors.Join(faults...)
}

func (e endpoint) listen() (net.Listener, error) {
	listener, err := net.Listen("tcp", e.address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		_, port, _ := net.SplitHostPort(e.address)
		return nil, fmt.Errorf("port %s, for %s, is in use at %s: stop what listens there, or choose another address, such as %s %s",
			port, e.what, e.address, e.flag, e.instead)
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w", e.flag, e.address, err)
	}
	return listener, nil
}

func (c Config) program(name string) string { return filepath.Join(c.Programs, name+executableSuffix) }

func (c Config) identityURL() string { return "http://" + reachable(c.Identity) }

func (c Config) mongoURL() string { return "mongodb://" + reachable(c.Mongo) + "/earlybird" }

func (c Config) redisURL() string { return "redis://" + reachable(c.Redis) + "/0" }

// reachable is an address to connect to for one to listen on: a wildcard is
// not one.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err == nil && wildcard(host) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

// wildcard reports whether a host stands for every address of this machine.
func wildcard(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// The default addresses, which are the command line's defaults too.
const (
	DefaultGateway  = "127.0.0.1:8000"
	DefaultIdentity = "127.0.0.1:8081"
	DefaultMongo    = "127.0.0.1:27117"
	DefaultRedis    = "127.0.0.1:6479"
)
