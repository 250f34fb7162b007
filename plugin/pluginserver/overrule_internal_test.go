package pluginserver

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"
)

// deciding is an instance whose handler decides when decide returns.
type deciding struct{ decide func() }

func (d deciding) Handle(context.Context, *Event) Verdict {
	d.decide()
	return Continue
}

func (deciding) Close() {}

// A handler may decide at the moment its time is up, when its fallback is about
// to be written. It is too late then: were it let through, the fallback would
// hit the next event of the connection. It failed when handle did not ask whether
// the timer had fired.
func TestDecisionAtTheMomentTheTimeIsUp(t *testing.T) {
	fallback := ExitFallback(NewResponse(500, nil, []byte("failed")))
	kong := &scripted{late: make(chan struct{})}
	var c *conn
	start := func(context.Context, []byte) (Instance, error) {
		return deciding{func() {
			c.wire.mu.Lock() // overrule cannot write
			defer c.wire.mu.Unlock()
			<-kong.late // and is about to
		}}, nil
	}
	s, err := New(t.Context(), Config{HandlerTimeout: time.Millisecond, Plugin: Definition{
		Name: "p", Phase: "access", Fallback: fallback,
		New: func(context.Context, Process) (StartFunc, error) { return start, nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.instances.open(t.Context(), []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	c = newConn(t.Context(), s, kong)
	if err := c.handle(7, r.id, "access"); !errors.Is(err, errEnded) {
		t.Errorf("handle = %v, want the end of the connection", err)
	}
	<-c.ctx.Done() // overrule has written, or not
	if sent := bytes.Join(kong.writes, nil); !bytes.Equal(sent, fallback.frames) {
		t.Errorf("sent %q, want the fallback once", sent)
	}
}
