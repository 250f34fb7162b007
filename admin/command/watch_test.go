package command

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"
)

// following is a pipe's end that acts on each line and, at the end, interrupts.
type following struct {
	mu    sync.Mutex
	lines []string
	rest  []byte
	each  func(n int)
}

func (f *following) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rest = append(f.rest, p...)
	for {
		line, rest, found := bytes.Cut(f.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		f.lines, f.rest = append(f.lines, string(line)), rest
		f.each(len(f.lines))
	}
}

// TestWatch follows a campaign through a pipe until Ctrl-C, which is no failure.
func TestWatch(t *testing.T) {
	for _, tt := range []struct {
		format string
		want   []string // of each line
	}{
		{"table", []string{"0 of 2 granted", "1 of 2 granted, 1 remaining, 0 waiting", "2 of 2 granted, 0 remaining, 1 waiting", "paused"}},
		{"csv", []string{"at,id,name", ",1,L,10,2,0,2,0,active,", ",1,L,10,2,1,1,0,active,", ",1,L,10,2,2,0,1,active,", ",paused,"}},
		{"json", []string{`"granted":0`, `"granted":1,"remaining":1,"waiting":0`, `"granted":2,"remaining":0,"waiting":1`, `"paused"`}},
	} {
		t.Run(tt.format, func(t *testing.T) {
			s := newStores(t)
			s.mustRun(t, "campaign start --yes --name L --slots 2 --discount 10")
			replica := s.replica(t)
			ctx, interrupt := context.WithTimeout(t.Context(), 20*time.Second)
			defer interrupt()
			header := 0
			if tt.format == "csv" {
				header = 1
			}
			out := &following{}
			out.each = func(n int) {
				switch n - header {
				case 1:
					place(t, replica, "a")
				case 2:
					place(t, replica, "b", "c")
				case 3:
					s.mustRun(t, "campaign pause --yes")
				case 4:
					interrupt()
				}
			}
			var errs bytes.Buffer
			status := Run(ctx, s.argv("campaign watch --interval 10ms --output "+tt.format), Streams{In: strings.NewReader(""), Out: out, Err: &errs})
			if status != exitDone || errs.Len() > 0 {
				t.Fatalf("exit %d: %s", status, &errs)
			}
			if len(out.lines) != len(tt.want) {
				t.Fatalf("%d lines, want %d:\n%s", len(out.lines), len(tt.want), strings.Join(out.lines, "\n"))
			}
			for i, want := range tt.want {
				if !strings.Contains(out.lines[i], want) {
					t.Errorf("line %d: %s\nwant %s", i+1, out.lines[i], want)
				}
			}
			if tt.format == "json" {
				var last struct {
					Latest []struct{ Rank int64 }
				}
				if err := json.Unmarshal([]byte(out.lines[3]), &last); err != nil || len(last.Latest) != 2 || last.Latest[0].Rank != 2 {
					t.Errorf("latest winners %+v, %v", last, err)
				}
			}
		})
	}
}

func TestWatchOfNothing(t *testing.T) {
	s := newStores(t)
	status, out, errs := s.run(t.Context(), strings.NewReader(""), "campaign watch")
	if status != exitFailed || out != "" || !strings.Contains(errs, "there is no campaign") {
		t.Errorf("exit %d, %s, %s", status, out, errs)
	}
}

// TestWatchAfterACancel: what was canceled before it opened is not watched, but the
// campaign in force.
func TestWatchAfterACancel(t *testing.T) {
	s := newStores(t)
	for _, line := range []string{
		"campaign start --yes --name Old --slots 2 --discount 10", "campaign end --yes",
		"campaign start --yes --name New --slots 2 --discount 10 --starts +2h", "campaign cancel --yes",
	} {
		s.mustRun(t, line)
	}
	ctx, interrupt := context.WithTimeout(t.Context(), 20*time.Second)
	defer interrupt()
	out := &following{each: func(int) { interrupt() }}
	var errs bytes.Buffer
	if status := Run(ctx, s.argv("campaign watch --output json"), Streams{In: strings.NewReader(""), Out: out, Err: &errs}); status != exitDone {
		t.Fatalf("exit %d: %s", status, &errs)
	}
	if len(out.lines) == 0 || !strings.Contains(out.lines[0], `"id":"1","name":"Old"`) {
		t.Errorf("watched %q", out.lines)
	}
}
