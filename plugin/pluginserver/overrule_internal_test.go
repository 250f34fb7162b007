package pluginserver

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"
)

// A handler may decide at the moment its time is up, when its fallback is about
// to be written. It is too late then: were it let through, the fallback would
// hit the next event of the connection.
func TestDecisionAtTheMomentTheTimeIsUp(t *testing.T) {
	now, fallback := time.Unix(1, 0), ExitFallback(NewResponse(500, nil, []byte("failed")))
	s, err := New(t.Context(), Config{
		Now: func() time.Time { return now },
		Plugin: Definition{Name: "p", Phase: "access", Fallback: fallback, New: func(context.Context, Process) (StartFunc, error) {
			return nil, nil
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	kong := &scripted{}
	c := newConn(t.Context(), s, kong)
	defer c.unwatch()
	c.begin(7, now)
	now = now.Add(s.config.HandlerTimeout)
	sequence, late := c.late()
	if sequence != 7 || !late {
		t.Fatalf("late = %d, %v; want 7, true", sequence, late)
	}
	if err := c.finish(7, Continue); !errors.Is(err, errEnded) {
		t.Errorf("finish = %v, want the end of the connection", err)
	}
	if err := c.wire.end(fallback.framesFor(sequence)); !errors.Is(err, errEnded) {
		t.Errorf("the fallback is written after the event has ended: %v", err)
	}
	if sent := bytes.Join(kong.writes, nil); !bytes.Equal(sent, fallback.frames) {
		t.Errorf("sent %q, want the fallback once", sent)
	}
}
