package program

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// NotifyContext returns a context that ends with the first SIGINT, SIGTERM or
// SIGHUP; the process then finishes what it has begun. A SIGHUP that was ignored
// when the process started, as nohup has it, stays ignored. The returned function
// restores what the signals do by default.
//
// From then on SIGPIPE is ignored. Go would end the process at the first write to
// a standard output or error that nothing reads any more, such as a pipe to a
// logger that has died; now that write fails like any other.
func NotifyContext(parent context.Context) (context.Context, context.CancelFunc) {
	signal.Ignore(syscall.SIGPIPE)
	ending := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ending = append(ending, syscall.SIGHUP)
	}
	return signal.NotifyContext(parent, ending...)
}
