package stack

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/deploy/local/gateway"
	"github.com/earlybird/earlybird/deploy/local/supervise"
	"github.com/earlybird/earlybird/identity/httpapi"
	"github.com/earlybird/earlybird/kong"
)

// startIdentity runs the identity service and waits until it is ready.
func (s *stack) startIdentity(ctx context.Context) error {
	secret, err := s.keySecret()
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	return s.child(ctx, supervise.Program{
		Name: "identity", Path: s.cfg.program(identityProgram), Env: identityEnvironment(os.Environ()), Grace: 20 * time.Second,
		Args: []string{
			"--listen", s.cfg.Identity, "--mongo-url", s.cfg.mongoURL(), "--redis-url", s.cfg.redisURL(),
			"--key-secret-file", secret, "--log-level", s.cfg.LogLevel.String(),
			"--registration", s.cfg.Registration,
		},
	}, func(ctx context.Context) error { return answersOK(ctx, client, s.cfg.identityURL()+"/readyz") })
}

// identityEnvironment is this process's own, so that every setting of identity
// can be tried here, but without the access to other stores, which the admin's
// command line takes from the same variables. An empty variable is one that is
// not set: the gateway, too, has the default then.
func identityEnvironment(own []string) []string {
	return slices.DeleteFunc(slices.Clone(own), func(variable string) bool {
		name, value, _ := strings.Cut(variable, "=")
		return strings.HasPrefix(name, "EARLYBIRD_MONGO_") || strings.HasPrefix(name, "EARLYBIRD_REDIS_") ||
			strings.HasPrefix(name, "EARLYBIRD_") && value == ""
	})
}

func answersOK(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}

// keySecret returns the file with the secret that seals signing keys, and
// makes it on the first start.
func (s *stack) keySecret() (string, error) {
	path := filepath.Join(s.cfg.Data, "key-secret")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // in the data folder
	if errors.Is(err, fs.ErrExist) {
		return path, nil
	}
	if err != nil {
		return "", fmt.Errorf("make key secret: %w", err)
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:])
	_, err = fmt.Fprintln(file, hex.EncodeToString(secret[:]))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		_ = os.Remove(path)
		return "", fmt.Errorf("make key secret: %w", err)
	}
	return path, nil
}

// startPlugins runs both plugins as Kong does, and the gateway before them.
func (s *stack) startPlugins(ctx context.Context) error {
	prefix, err := s.socketFolder(ctx)
	if err != nil {
		return err
	}
	external := map[string]gateway.External{}
	for _, name := range plugins {
		plugin, err := s.startPlugin(ctx, name, prefix)
		if err != nil {
			return err
		}
		external[name] = plugin
	}
	return s.startGateway(ctx, external)
}

// maxSocketPath is what a Unix socket's path may have everywhere, in bytes.
const maxSocketPath = 100

// socketFolder is where the plugins' sockets are: in the data folder, unless
// its path is too long for a socket.
func (s *stack) socketFolder(ctx context.Context) (string, error) {
	folder := filepath.Join(s.cfg.Data, "run")
	if len(filepath.Join(folder, plugins[0]+".socket")) > maxSocketPath {
		temporary, err := os.MkdirTemp("", "earlybird-")
		if err != nil {
			return "", fmt.Errorf("folder of sockets: %w", err)
		}
		s.start(ctx, func(ctx context.Context) error {
			<-ctx.Done()
			return os.RemoveAll(temporary)
		})
		return temporary, nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("folder of sockets: %w", err)
	}
	return folder, nil
}

// startPlugin asks the program for its dump, starts it and waits for its
// socket. Like Kong it passes no environment.
func (s *stack) startPlugin(ctx context.Context, name, prefix string) (gateway.External, error) {
	path := s.cfg.program(name)
	dump, err := kongwire.Query(ctx, path, "-dump", "-kong-prefix", prefix)
	if err != nil {
		return gateway.External{}, err
	}
	if dump.Plugins[0].Name != name {
		return gateway.External{}, fmt.Errorf("%s says that it is the plugin %q", path, dump.Plugins[0].Name)
	}
	err = s.child(ctx, supervise.Program{
		Name: name, Path: path, Env: []string{}, Grace: 10 * time.Second,
		Args: []string{"-kong-prefix", prefix, "-log-level", s.cfg.LogLevel.String()},
	}, func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", dump.SocketPath)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return gateway.External{
		Info:   dump.Plugins[0],
		Plugin: kongwire.NewPlugin(kongwire.Config{Name: name, Socket: dump.SocketPath, Log: s.log}),
	}, err
}

// startGateway serves kong.yml for these addresses.
func (s *stack) startGateway(ctx context.Context, external map[string]gateway.External) error {
	declarative, err := kong.Render(kong.Options{
		IdentityURL: s.cfg.identityURL(), Issuer: os.Getenv("EARLYBIRD_ISSUER"), Audience: os.Getenv("EARLYBIRD_AUDIENCE"), // identity's own settings
	})
	if err != nil {
		return err
	}
	g, err := gateway.New(gateway.Config{
		Declarative: declarative, External: external, Now: time.Now, Log: s.log.With("part", "gateway"),
		Getenv: s.kongEnvironment,
	})
	if err != nil {
		return err
	}
	s.notes = g.NotEmulated()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.Gateway)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	s.start(ctx, func(ctx context.Context) error { return serve(ctx, g, listener) })
	return nil
}

// kongEnvironment is what Kong's own environment would have, for references in
// kong.yml.
func (s *stack) kongEnvironment(name string) string {
	if name == "EARLYBIRD_REDIS_URL" {
		return s.cfg.redisURL()
	}
	return os.Getenv(name)
}

// gatewayGrace bounds the wait for requests in flight when the gateway stops.
const gatewayGrace = 10 * time.Second

func serve(ctx context.Context, g *gateway.Gateway, listener net.Listener) error {
	server := &http.Server{
		Handler: httpapi.Linger(g), ReadHeaderTimeout: 60 * time.Second, IdleTimeout: 65 * time.Second, // Kong's own
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	go g.Run(ctx)
	select {
	case err := <-failed:
		return fmt.Errorf("gateway: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), gatewayGrace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return server.Close()
	}
	return nil
}
