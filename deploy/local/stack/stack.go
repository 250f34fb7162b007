package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/earlybird/earlybird/deploy/filelock"
	"github.com/earlybird/earlybird/deploy/local/supervise"
	"github.com/earlybird/earlybird/kong"
)

// The project's programs that run as children.
const identityProgram = "earlybird-identity"

var plugins = []string{"earlybird-auth", "earlybird-tag"}

// startTimeout bounds the wait for one part to become ready.
const startTimeout = 30 * time.Second

// stack is a running stack.
type stack struct {
	cfg   Config
	lines *supervise.Lines
	log   *slog.Logger

	fail  context.CancelCauseFunc // ends the stack because a part of it failed
	parts []part                  // in the order they were started
	redis string                  // what Redis it is, for people
	seed  string                  // what was done about the first campaign
	notes []string                // what the gateway does not do
	shop  kong.Service            // the example, once it listens
}

// part is something that runs until it is told to stop.
type part struct {
	stop func()
	done <-chan struct{}
}

// Run starts everything, says what runs where, and stops it all when ctx ends.
// The error is nil then; otherwise it says what could not be started, or what
// failed.
func Run(ctx context.Context, cfg Config) error {
	data, err := filepath.Abs(cfg.Data)
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	cfg.Data = data
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	lock, err := filelock.TryAcquire(filepath.Join(cfg.Data, "lock"))
	if errors.Is(err, filelock.ErrHeld) {
		return fmt.Errorf("another earlybird-local is using %s: stop it, or choose another folder with --data", cfg.Data)
	} else if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	defer func() { _ = lock.Release() }()
	if err := cfg.check(); err != nil {
		return err
	}
	return newStack(cfg).run(ctx)
}

func newStack(cfg Config) *stack {
	lines := supervise.NewLines(cfg.Stderr)
	handler := slog.NewTextHandler(lines.Writer("earlybird-local"), &slog.HandlerOptions{Level: cfg.LogLevel})
	return &stack{cfg: cfg, lines: lines, log: slog.New(handler)}
}

func (s *stack) run(ctx context.Context) error {
	ctx, s.fail = context.WithCancelCause(ctx)
	defer s.fail(nil)
	defer s.stopAll()
	steps := []func(context.Context) error{s.startMongo, s.startRedis, s.startIdentity, s.firstCampaign, s.startShop}
	if s.cfg.Gateway != "" {
		steps = append(steps, s.startPlugins)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return cause(ctx, err)
		}
	}
	s.greet()
	<-ctx.Done()
	return cause(ctx, nil)
}

// cause is why the stack ends: a part's failure, or nothing when it was told
// to.
func cause(ctx context.Context, err error) error {
	reason := context.Cause(ctx)
	if reason == nil {
		return err
	}
	if errors.Is(reason, context.Canceled) {
		return nil
	}
	return reason
}

// start runs a part in the background until stopAll, also when ctx has ended:
// parts stop in the reverse order, each before the ones it needs.
func (s *stack) start(ctx context.Context, run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	s.parts = append(s.parts, part{stop, done})
	go func() {
		defer close(done)
		if err := run(ctx); err != nil {
			s.fail(err)
		}
	}()
}

func (s *stack) stopAll() {
	for _, p := range slices.Backward(s.parts) {
		p.stop()
		<-p.done
	}
}

// child runs a program as a part of the stack and returns once ready says nil.
// A program that ends before that ends the stack.
func (s *stack) child(ctx context.Context, p supervise.Program, ready func(context.Context) error) error {
	isReady := make(chan struct{})
	p.Lines, p.Log, p.Ready = s.lines, s.log, isReady
	started := make(chan struct{}, 1)
	s.start(ctx, func(ctx context.Context) error {
		return p.Run(ctx, func() {
			select {
			case started <- struct{}{}:
			default:
			}
		})
	})
	select {
	case <-started:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := s.await(ctx, p.Name, ready); err != nil {
		return err
	}
	close(isReady)
	return nil
}

// await polls until ready says nil, and gives up after startTimeout.
func (s *stack) await(ctx context.Context, what string, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	err := ready(ctx)
	for err != nil {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not become ready, see the log above: %w", what, err)
		case <-tick.C:
			err = ready(ctx)
		}
	}
	return nil
}
