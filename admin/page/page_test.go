package page

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/earlybird/earlybird/admin/doctor"
	"github.com/earlybird/earlybird/admin/watch"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// came is one arrival for each of these seconds after noon.
func came(seconds ...int) iter.Seq2[time.Time, int64] {
	return func(yield func(time.Time, int64) bool) {
		for _, s := range seconds {
			if !yield(noon.Add(time.Duration(s)*time.Second), 1) {
				return
			}
		}
	}
}

// running is a campaign of four slots, of which three are taken.
func running() watch.Sample {
	return watch.Sample{
		At: noon.Add(20 * time.Second), Rate: 0.5, OpenedAt: noon, Since: noon, Arrivals: came(1, 1, 9),
		Progress: watch.Progress{ID: "1", Name: "Launch", Discount: 30, Slots: 4, Granted: 3, Remaining: 1, Status: "active", StartsAt: noon},
		Latest:   []watch.Winner{{Rank: 3, UserID: "U3", Username: "cy"}, {Rank: 2, UserID: "U2"}},
	}
}

func get(t *testing.T, p *Page, target string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
	return w.Code, w.Body.String()
}

func show(t *testing.T, p *Page, s watch.Sample) {
	t.Helper()
	if err := p.Show(s); err != nil {
		t.Fatal(err)
	}
}

func TestStates(t *testing.T) {
	well := []doctor.Result{{Check: "mongodb", OK: true, Detail: "the primary answers"}}
	warns := append([]doctor.Result{{Check: "mongodb-server", OK: true, Detail: "a server alone", Hint: "use three"}}, well...)
	fails := append([]doctor.Result{{Check: "redis", Detail: "connection refused", Hint: "start it"}}, warns...)
	for _, tt := range []struct {
		name   string
		change func(s *watch.Sample)
		checks []doctor.Result
		want   []string
		never  []string
	}{
		{"a rehearsal", func(s *watch.Sample) { s.Progress.Rehearsal, s.Progress.Discount = true, 0 }, well, []string{"Campaign 1 · a rehearsal of 4 slots"}, []string{"% off"}},
		{"running", func(*watch.Sample) {}, well, []string{
			"Running: logins count.", "Everything is well.", "<dd>3<small> of 4</small></dd>", "<dt>Remaining</dt><dd>1</dd>", "<dt>Waiting in line</dt><dd>0</dd>",
			"<dt>Logins a second</dt><dd>0.5</dd>", "<dt>Time to full</dt><dd>a few seconds</dd>", "<b>#3</b> <bdi>cy</bdi>", "<b>#2</b> <bdi>U2</bdi>",
			`max="4" value="3"`, `aria-valuetext="3 of 4 granted"`, "<title>3 of 4 · Launch</title>",
			"3 arrivals. The most were 3 a minute, at 2026-11-22 12:00:00 UTC.", "3 arrivals. The most were 2 a second, at 2026-11-22 12:00:01 UTC.",
			"As of <b>12:00:20 UTC</b>",
		}, []string{"Starts in", "Ends"}},
		{"scheduled", func(s *watch.Sample) {
			s.Progress.Status, s.OpenedAt, s.Since, s.Arrivals, s.Latest = "scheduled", time.Time{}, time.Time{}, came(), nil
			s.Progress.StartsAt, s.Progress.Granted, s.Progress.Remaining = s.At.Add(26*time.Hour+3*time.Minute+4*time.Second-time.Millisecond), 0, 4
		}, warns, []string{"It has not started", `<span role="timer">26:03:04</span>`, "at 2026-11-23 14:03:23 UTC", "Nobody yet", "Everything works; 1 of 2 checks warn.", "<i>use three</i>"}, []string{"Arrivals"}},
		{"paused", func(s *watch.Sample) { s.Progress.Status, s.Since = "paused", noon.Add(5*time.Second) }, fails, []string{
			"Paused since 12:00:05 UTC", "Not everything is well: 1 of 3 checks failed.", "<b>redis: failed.</b> connection refused. <i>start it</i>", "<dt>Time to full</dt><dd>–</dd>",
		}, nil},
		{"full", func(s *watch.Sample) {
			s.Progress.Granted, s.Progress.Remaining, s.Progress.Waiting, s.FullAt = 4, 0, 7, noon.Add(151*time.Second)
			s.Next = []watch.Winner{{Rank: 5, UserID: "U5", Username: "dee"}}
		}, well, []string{"Full: all 4 slots are taken.", "<dt>Time to full</dt><dd>2 min 31 s</dd>", "<dt>Waiting in line</dt><dd>7</dd>", `<h2>Next in line</h2><ol><li><b>#5</b> <bdi>dee</bdi></li></ol>`}, []string{"Nobody"}},
		{"ended", func(s *watch.Sample) { s.Progress.Status, s.Since = "ended", noon.Add(15*time.Second) }, well, []string{"Ended at 2026-11-22 12:00:15 UTC"}, nil},
		{"canceled", func(s *watch.Sample) { s.Progress.Status, s.OpenedAt, s.Arrivals = "ended", time.Time{}, came() }, well, []string{"It was canceled before its start."}, nil},
		{"ends later", func(s *watch.Sample) { s.Progress.EndsAt = noon.Add(time.Hour) }, well, []string{"<dt>Ends</dt><dd><small>2026-11-22 13:00:00 UTC"}, nil},
		{"hostile names", func(s *watch.Sample) {
			s.Progress.Name = `<script>alert(1)</script>`
			s.Latest[0].Username = `"><img src=x onerror=alert(1)>`
		}, well, []string{"&lt;script&gt;alert(1)"}, []string{"<script>alert", "<img"}},
		{"redis is foreign", func(s *watch.Sample) { s.Lag.Problem = "it belongs to another database" }, well, []string{"Redis: it belongs to another database"}, []string{"Everything is well"}},
		{"not checked", func(*watch.Sample) {}, nil, []string{"Checking whether everything is well.", "The first check is not done yet."}, nil},
		{"slow", func(s *watch.Sample) { s.Rate, s.Progress.Remaining = 0.1, 12 }, fails, []string{"<dd>about 2 min 0 s</dd>", "1 of 3 checks are ok, at 12:00:00 UTC."}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := New("")
			if tt.checks != nil {
				if err := p.Checked(tt.checks, noon); err != nil {
					t.Fatal(err)
				}
			}
			s := running()
			tt.change(&s)
			show(t, p, s)
			_, body := get(t, p, "http://127.0.0.1/")
			for _, want := range tt.want {
				if !strings.Contains(body, want) {
					t.Errorf("lacks %s in\n%s", want, body)
				}
			}
			for _, never := range tt.never {
				if strings.Contains(body, never) {
					t.Errorf("has %s in\n%s", never, body)
				}
			}
		})
	}
}

// TestLookFails: what was known stays, with its time, and the plots too.
func TestLookFails(t *testing.T) {
	p := New("")
	show(t, p, running())
	down := running()
	down.At, down.Problem = down.At.Add(time.Minute), "mongodb: no primary"
	show(t, p, down)
	_, body := get(t, p, "http://localhost:9180/")
	for _, want := range []string{"The last look failed at 12:01:20 UTC; what is shown is from <b>12:00:20 UTC</b>", `verdict failed">mongodb: no primary`, `id="minutes"`} {
		if !strings.Contains(body, want) {
			t.Errorf("lacks %s in\n%s", want, body)
		}
	}
}

func TestWho(t *testing.T) {
	plain, secret := New(""), New("S3CRET")
	for _, p := range []*Page{plain, secret} {
		show(t, p, running())
	}
	for _, tt := range []struct {
		page         *Page
		method, path string
		host         string
		want         int
	}{
		{plain, "GET", "/", "127.0.0.1:9180", 200},
		{plain, "HEAD", "/", "localhost", 200},
		{plain, "HEAD", "/events", "[::1]:9180", 200},
		{plain, "GET", "/watch.css", "LOCALHOST:9180", 200},
		{plain, "GET", "/watch.js", "127.8.9.1", 200},
		{plain, "GET", "/icon.svg", "[::1]", 200},
		{plain, "GET", "/", "evil.example:9180", 421},
		{plain, "GET", "/events", "evil.example", 421},
		{plain, "GET", "/", "127.0.0.1.evil.example", 421},
		{plain, "GET", "/", "10.0.0.1:9180", 421},
		{plain, "POST", "/", "127.0.0.1", 405},
		{plain, "DELETE", "/events", "127.0.0.1", 405},
		{plain, "GET", "/files/watch.html.tmpl", "127.0.0.1", 404},
		{plain, "GET", "/../page.go", "127.0.0.1", 404},
		{secret, "GET", "/S3CRET/", "wall.bank.example", 200},
		{secret, "HEAD", "/S3CRET/events", "10.0.0.1", 200},
		{secret, "GET", "/S3CRET/watch.js", "10.0.0.1", 200},
		{secret, "GET", "/", "10.0.0.1", 404},
		{secret, "GET", "/events", "127.0.0.1", 404},
		{secret, "GET", "/watch.js", "127.0.0.1", 404},
		{secret, "GET", "/S3CRET", "127.0.0.1", 404},
		{secret, "GET", "/S3CRETS/", "127.0.0.1", 404},
		{secret, "GET", "//S3CRET/", "127.0.0.1", 404},
	} {
		w := httptest.NewRecorder()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // events would never end
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, tt.method, "http://x"+tt.path, nil)
		r.Host = tt.host
		tt.page.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s %s as %s: %d, want %d", tt.method, tt.path, tt.host, w.Code, tt.want)
		}
		if tt.method == "HEAD" && w.Body.Len() > 0 {
			t.Errorf("HEAD %s has a body", tt.path)
		}
		for name, want := range map[string]string{"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s %s: %s is %q", tt.method, tt.path, name, got)
			}
		}
		if strings.Contains(w.Body.String(), "S3CRET") {
			t.Errorf("%s %s tells the token", tt.method, tt.path)
		}
	}
	if status, _ := get(t, New(""), "http://127.0.0.1/"); status != http.StatusServiceUnavailable {
		t.Errorf("before the first sample: %d", status)
	}
}

// event is what a browser gets.
type event struct {
	ID, Retry string
	State     struct {
		Title          string
		Granted, Slots int
		Parts          map[string]string
	}
}

// next reads an event from a stream.
func next(t *testing.T, r *bufio.Reader) event {
	t.Helper()
	var e event
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			e.ID = value
		case "retry":
			e.Retry = value
		case "data":
			if err := json.Unmarshal([]byte(value), &e.State); err != nil {
				t.Fatal(err)
			}
		case "":
			return e
		}
	}
}

// TestEvents: every browser gets the whole state when it comes, and each later
// one; who comes back after a break has missed nothing. Serve ends at once
// although browsers listen.
func TestEvents(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := New("")
	show(t, p, running())
	served := make(chan error, 1)
	go func() { served <- p.Serve(ctx, listener) }()

	listen := func() (*bufio.Reader, io.Closer) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String()+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("content type %q", got)
		}
		return bufio.NewReader(res.Body), res.Body
	}
	one, body := listen()
	two, _ := listen()
	for _, r := range []*bufio.Reader{one, two} {
		if e := next(t, r); e.ID != "1" || e.Retry != "1000" || e.State.Granted != 3 || len(e.State.Parts) != len(parts) {
			t.Fatalf("first event %+v", e)
		}
	}
	body.Close()
	more := running()
	more.Progress.Granted, more.Progress.Remaining, more.Arrivals = 4, 0, came(1, 1, 9, 30)
	show(t, p, more)
	one, _ = listen()
	for _, r := range []*bufio.Reader{one, two} {
		e := next(t, r)
		if e.ID != "2" || e.State.Title != "4 of 4 · Launch" || !strings.Contains(e.State.Parts["plots"], "4 arrivals.") {
			t.Errorf("after the break: %+v", e)
		}
	}
	stop()
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end while browsers listen")
	}
	if _, err := io.ReadAll(two); err != nil {
		t.Errorf("the stream was cut, not ended: %v", err)
	}
}

// TestKeepAlive: a browser hears something every five seconds, with the same id
// while nothing is new, and what is new at once.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		p := New("")
		show(t, p, running())
		w, ended := httptest.NewRecorder(), make(chan bool)
		go func() {
			p.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/events", nil))
			close(ended)
		}()
		time.Sleep(11 * time.Second) // of the bubble's clock
		show(t, p, running())
		synctest.Wait() // no time passes
		if !strings.Contains(w.Body.String(), "id: 2\n") {
			t.Error("what is new is not sent at once")
		}
		stop()
		<-ended
		if got := strings.Count(w.Body.String(), "id: 1\nretry: 1000\ndata: {"); got != 3 {
			t.Errorf("%d events in 11 s, want 3:\n%s", got, w.Body)
		}
	})
}

func TestLasting(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0 s", 420 * time.Millisecond: "0.4 s", 31 * time.Second: "31 s", 151 * time.Second: "2 min 31 s",
		3*time.Hour + 5*time.Minute + time.Second: "3 h 5 min", 49 * time.Hour: "2 d 1 h",
	} {
		if got := lasting(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}

// TestLongCampaign: two weeks are not 20,160 bars.
func TestLongCampaign(t *testing.T) {
	s := running()
	s.At = noon.Add(14 * 24 * time.Hour)
	minutes, _ := plots(s)
	if got := strings.Count(string(minutes), "<rect"); got != 1 || !strings.Contains(string(minutes), "mean of 60 minutes") {
		t.Errorf("%d bars in\n%s", got, minutes)
	}
	if !strings.Contains(string(minutes), "The most were 0.05 a minute") {
		t.Errorf("3 arrivals in an hour: %s", minutes)
	}
}
