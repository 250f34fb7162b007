package pluginserver_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/earlybird/earlybird/plugin/pluginserver"
)

func TestRetry(t *testing.T) {
	var tries, closedOther, closedWanted atomic.Int64
	now := time.Unix(1, 0)
	works := false
	verdict := func(v pluginserver.Verdict) func(context.Context, *pluginserver.Event) pluginserver.Verdict {
		return func(context.Context, *pluginserver.Event) pluginserver.Verdict { return v }
	}
	r := pluginserver.NewRetry(pluginserver.RetryConfig{
		Start: func(_ context.Context, config []byte) (pluginserver.Instance, error) {
			if tries.Add(1); !works || string(config) != "config" {
				return nil, errors.New("not yet")
			}
			return stub{handle: verdict(pluginserver.Continue), closed: &closedWanted}, nil
		},
		Config: []byte("config"), Otherwise: stub{handle: verdict(pluginserver.Exited), closed: &closedOther},
		Every: time.Minute, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
	})
	steps := []struct {
		name      string
		after     time.Duration
		works     bool
		want      pluginserver.Verdict
		wantTries int64
	}{
		{"too soon", 0, true, pluginserver.Exited, 0},
		{"time to try, in vain", time.Minute, false, pluginserver.Exited, 1},
		{"too soon again", time.Second, true, pluginserver.Exited, 1},
		{"it works", time.Minute, true, pluginserver.Continue, 2},
		{"and goes on working", time.Hour, false, pluginserver.Continue, 2},
	}
	for _, step := range steps {
		now, works = now.Add(step.after), step.works
		if got := r.Handle(t.Context(), nil); got != step.want || tries.Load() != step.wantTries {
			t.Errorf("%s: verdict %v after %d tries, want %v after %d", step.name, got, tries.Load(), step.want, step.wantTries)
		}
	}
	r.Close()
	if closedOther.Load() != 1 || closedWanted.Load() != 1 {
		t.Errorf("closed %d and %d times", closedOther.Load(), closedWanted.Load())
	}
}
