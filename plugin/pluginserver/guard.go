package pluginserver

import (
	"context"
	"fmt"
	"os"
	"time"
)

// orphanWait is how long a process without a parent waits for connections. When a
// worker of Kong's dies, its plugin servers are needed by the other workers until the
// next process has their socket; Kong keeps an idle connection for 60 s.
var orphanWait = 2 * time.Minute

const guardEvery = time.Second

// guard detects that no worker can use this process any more. Kong's worker 0 starts
// plugin servers and restarts those that exit. It does not check that a server can be
// reached, and when that worker dies its servers keep running.
type guard struct {
	socket string
	bound  os.FileInfo // the socket as it was made
	parent int         // at the start
	wait   time.Duration

	ppid func() int
	open func() (connections int, since time.Time) // since when there are none
	now  func() time.Time
}

// newGuard must be called right after the socket was made.
func newGuard(socket string, s *Server) (*guard, error) {
	bound, err := os.Lstat(socket)
	if err != nil {
		return nil, fmt.Errorf("look at plugin socket: %w", err)
	}
	return &guard{
		socket: socket, bound: bound, parent: os.Getppid(), wait: orphanWait,
		ppid: os.Getppid, open: s.idle, now: s.config.Now,
	}, nil
}

// run returns the reason as soon as no worker can use this process, or "" when ctx
// ends first.
func (g *guard) run(ctx context.Context) string {
	ticks := time.NewTicker(guardEvery)
	defer ticks.Stop()
	for {
		if why := g.useless(); why != "" {
			return why
		}
		select {
		case <-ctx.Done():
			return ""
		case <-ticks.C:
		}
	}
}

func (g *guard) useless() string {
	there, err := os.Lstat(g.socket)
	switch {
	case os.IsNotExist(err):
		return "the socket was removed: no worker of Kong's can connect"
	// The number of a removed file is given to the next one.
	case err == nil && (!os.SameFile(there, g.bound) || !there.ModTime().Equal(g.bound.ModTime())):
		return "the socket is another process's"
	}
	connections, since := g.open()
	if g.ppid() != g.parent && connections == 0 && g.now().Sub(since) >= g.wait {
		return "the worker of Kong's that started this process is gone, and nobody connects"
	}
	return ""
}
