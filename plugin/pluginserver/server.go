package pluginserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config is what a Server is made of. Zero values take the defaults.
type Config struct {
	Plugin  Definition
	Process Process // Log and Metrics may be nil

	HandlerTimeout time.Duration // after which a handler is overruled; 8 s: over any claim_timeout, under kong.conf's 10 s for a socket
	DrainTimeout   time.Duration // how long Shutdown waits for handlers; HandlerTimeout and 1 s
	DrainIdle      time.Duration // how long an idle connection may still bring a call; 100 ms
	MaxFrame       int           // the largest frame, in bytes; 1 MiB
	Now            func() time.Time
}

// Server serves one plugin.
type Server struct {
	config    Config
	plugin    Definition
	instances *instances
	metrics   *metrics
	relay     *relay
	log       *slog.Logger

	mu     sync.Mutex
	conns  map[*conn]struct{}
	unused time.Time // since when there have been no connections
	wg     sync.WaitGroup
}

// New prepares the plugin. The context ends what the plugin does in the
// background; it must outlive Serve.
func New(ctx context.Context, config Config) (*Server, error) {
	config.setDefaults()
	s := &Server{config: config, plugin: config.Plugin, conns: map[*conn]struct{}{}, unused: config.Now()}
	s.relay = newRelay(config.Plugin.Name, config.Now)
	s.log = slog.New(relayHandler{Handler: config.Process.Log.Handler(), relay: s.relay})
	config.Process.Log = s.log
	start, err := config.Plugin.New(ctx, config.Process)
	if err != nil {
		return nil, fmt.Errorf("prepare plugin %s: %w", config.Plugin.Name, err)
	}
	s.instances = newInstances(start, config.Now)
	s.metrics = newMetrics(config.Process.Metrics, config.Plugin.Name, s)
	return s, nil
}

func (c *Config) setDefaults() {
	if c.HandlerTimeout <= 0 {
		c.HandlerTimeout = 8 * time.Second
	}
	if c.DrainTimeout <= 0 {
		c.DrainTimeout = c.HandlerTimeout + time.Second
	}
	if c.DrainIdle <= 0 {
		c.DrainIdle = 100 * time.Millisecond
	}
	if c.MaxFrame <= 0 {
		c.MaxFrame = 1 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Process.Log == nil {
		c.Process.Log = slog.New(slog.DiscardHandler)
	}
	if c.Process.Metrics == nil {
		c.Process.Metrics = prometheus.NewRegistry()
	}
	if c.Process.RedisURL == nil {
		c.Process.RedisURL = func() (string, error) { return "", nil }
	}
}

// Serve answers Kong on the listener until ctx ends, then drains: connections
// end after the event that runs. It returns nil after that, and closes the
// listener in any case.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	defer s.instances.closeAll()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() }) // Accept reports it
	defer stop()
	// Handlers outlive ctx by the time it takes to drain.
	handlers, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	err := s.accept(handlers, listener, ctx.Done())
	if ctx.Err() != nil {
		err = nil
	}
	_ = listener.Close() // closed already, or useless
	s.drain()
	return err
}

const (
	// acceptWait is how long the server waits at first, and at most, when a connection
	// cannot be accepted, above all for want of file descriptors; as in net/http.
	acceptWait, acceptWaitMost = 5 * time.Millisecond, time.Second
	// acceptSilence is the least time between two log lines about it.
	acceptSilence = time.Minute
)

func (s *Server) accept(ctx context.Context, listener net.Listener, ended <-chan struct{}) error {
	var wait time.Duration
	var said time.Time
	for {
		nc, err := listener.Accept()
		if err != nil {
			var temporary interface{ Temporary() bool }
			if !errors.As(err, &temporary) || !temporary.Temporary() {
				return fmt.Errorf("accept: %w", err)
			}
			if now := s.config.Now(); said.IsZero() || now.Sub(said) >= acceptSilence {
				said = now
				s.log.ErrorContext(ctx, "connections cannot be accepted, trying again", slog.Any("err", err))
			}
			wait = min(max(2*wait, acceptWait), acceptWaitMost)
			select {
			case <-ended:
			case <-time.After(wait):
			}
			continue
		}
		wait = 0
		c := newConn(ctx, s, nc)
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() {
			c.serve()
			s.mu.Lock()
			delete(s.conns, c)
			s.unused = s.config.Now()
			s.mu.Unlock()
		})
	}
}

// idle returns the number of open connections, and since when there are none.
func (s *Server) idle() (connections int, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns), s.unused
}

func (s *Server) drain() {
	for _, c := range s.connections() {
		c.drain()
	}
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(s.config.DrainTimeout):
		for _, c := range s.connections() {
			c.cancel()
			_ = c.wire.conn.Close()
		}
	}
}

func (s *Server) connections() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// Listen opens the plugin's socket. It replaces a socket that is already
// there in one step, so that Kong finds either the old one or the new one, and
// leaves it there when closed: by then it may be another process's.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	// A short name: the path may be as long as a socket's can be.
	temporary := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%d", os.Getpid()))
	_ = os.Remove(temporary) // of a process that died with the same id
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", temporary)
	if err != nil {
		return nil, fmt.Errorf("open plugin socket: %w", err)
	}
	if unix, ok := listener.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false)
	}
	if err := os.Rename(temporary, path); err != nil {
		_ = listener.Close()
		_ = os.Remove(temporary)
		return nil, fmt.Errorf("open plugin socket: %w", err)
	}
	return listener, nil
}
