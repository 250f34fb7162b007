package command

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/earlybird/earlybird/admin/doctor"
	"github.com/earlybird/earlybird/admin/page"
)

// TestWatchPage: the page follows the log, beside the view on the terminal, and
// Ctrl-C ends both although a browser listens.
func TestWatchPage(t *testing.T) {
	for _, tt := range []struct{ name, flags string }{
		{"this machine", "--http 127.0.0.1:0"},
		{"anywhere", "--http 0.0.0.0:0 --listen-anywhere"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStores(t)
			s.mustRun(t, "campaign start --yes --name L --slots 2 --discount 10")
			replica := s.replica(t)
			ctx, interrupt := context.WithTimeout(t.Context(), 30*time.Second)
			defer interrupt()
			out := &following{each: func(int) {}}
			errs := &following{}
			where := make(chan string, 1)
			errs.each = func(n int) {
				if n == 1 {
					where <- strings.TrimPrefix(errs.lines[0], "The page: ")
				}
			}
			ended := make(chan int, 1)
			go func() {
				ended <- Run(ctx, s.argv("campaign watch --interval 10ms --identity-url http://127.0.0.1:1 --gateway-url http://127.0.0.1:1 "+tt.flags), Streams{In: strings.NewReader(""), Out: out, Err: errs})
			}()
			var url string
			select {
			case url = <-where:
			case status := <-ended:
				t.Fatalf("exit %d: %q", status, errs.lines)
			}
			secret := strings.Count(url, "/") == 4
			if anywhere := tt.name == "anywhere"; secret != anywhere || strings.Contains(url, "0.0.0.0") {
				t.Fatalf("the URL is %s", url)
			}
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"events", nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			events := bufio.NewScanner(res.Body)
			events.Buffer(nil, 1<<20)
			until := func(wanted ...string) {
				t.Helper()
			events:
				for events.Scan() {
					for _, text := range wanted {
						if !strings.Contains(events.Text(), text) {
							continue events
						}
					}
					return
				}
				t.Fatalf("the events end without %q: %v", wanted, events.Err())
			}
			until(`"title":"0 of 2 · L"`)
			place(t, replica, "A", "B", "C")
			until(`"title":"2 of 2 · L"`, "Full: all 2 slots are taken.", "3 arrivals.", "Waiting in line\\u003c/dt\\u003e\\u003cdd\\u003e1\\u003c")
			until("Not everything is well: ", "identity: failed.", "mongodb-clock") // the doctor
			s.mustRun(t, "campaign pause --yes")
			until("Paused since")
			interrupt()
			select {
			case status := <-ended:
				if status != exitDone {
					t.Errorf("exit %d: %q", status, errs.lines)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("Ctrl-C does not end it")
			}
			if last := out.lines[len(out.lines)-1]; !strings.Contains(last, "paused: 2 of 2 granted") || len(errs.lines) != 1 {
				t.Errorf("on the terminal: %s; beside it %q", last, errs.lines)
			}
		})
	}
}

// TestKeepChecking: the doctor looks every half minute, and no further look begins
// before the one before has ended.
func TestKeepChecking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		began, looks := time.Now(), []string{}
		ended := make(chan error)
		slow := doctor.Check{Name: "slow", Look: func(ctx context.Context) (string, error) {
			looks = append(looks, time.Since(began).String())
			<-ctx.Done() // it never answers; Examine ends it after doctor.Timeout
			return "", ctx.Err()
		}}
		go func() { ended <- keepChecking(ctx, page.New(""), []doctor.Check{slow}) }()
		time.Sleep(80 * time.Second) // of the bubble's clock
		stop()
		if err := <-ended; err != nil || strings.Join(looks, " ") != "0s 35s 1m10s" {
			t.Errorf("%v; looks after %v", err, looks)
		}
	})
}

// TestPortInUse: what listens there already is named.
func TestPortInUse(t *testing.T) {
	s := newStores(t)
	s.mustRun(t, "campaign start --yes --name L --slots 2 --discount 10")
	port := strings.TrimPrefix(strings.TrimSuffix(s.server.URL(), "/0"), "redis://")
	status, _, errs := s.run(t.Context(), strings.NewReader(""), "campaign watch --http "+port)
	if status != exitFailed || !strings.Contains(errs, "--http: listen tcp "+port) || !strings.Contains(errs, "hint: is another program using it?") {
		t.Errorf("exit %d: %s", status, errs)
	}
}
