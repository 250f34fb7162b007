package browser

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// earlybird is the command line, told where the stores are.
func (r running) earlybird(args ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(r.bin, "earlybird"), args...)
	command.Env = append(os.Environ(), "EARLYBIRD_MONGO_URL="+r.mongo, "EARLYBIRD_REDIS_URL="+r.redis,
		"EARLYBIRD_IDENTITY_URL="+r.identity, "EARLYBIRD_GATEWAY_URL="+r.gateway, "EARLYBIRD_ADMIN=ops@bank.example")
	return command
}

func (r running) admin(t *testing.T, args ...string) string {
	t.Helper()
	out, err := r.earlybird(args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// watching is a running `campaign watch --http`.
type watching struct {
	url  string
	stop func() // as Ctrl-C does; it must end at once, and well
}

func (r running) watch(t *testing.T, address string) watching {
	t.Helper()
	command := r.earlybird("campaign", "watch", "--http", address)
	said, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	lines := bufio.NewScanner(said)
	w := watching{}
	if lines.Scan() {
		w.url = strings.TrimPrefix(lines.Text(), "The page: ")
	}
	go func() { ended <- command.Wait() }()
	w.stop = sync.OnceFunc(func() {
		_ = command.Process.Signal(syscall.SIGINT)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("watch ended with %v", err)
			}
		case <-time.After(5 * time.Second):
			_ = command.Process.Kill()
			t.Error("Ctrl-C does not end watch while a browser listens")
		}
	})
	t.Cleanup(w.stop)
	if !strings.HasPrefix(w.url, "http://") {
		t.Fatalf("watch does not say where the page is: %q", w.url)
	}
	return w
}

// until waits until a JavaScript expression is true in the page.
func until(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	var now bool
	for deadline := time.Now().Add(time.Minute); !now; time.Sleep(50 * time.Millisecond) {
		if err := chromedp.Run(ctx, chromedp.Evaluate(expression, &now)); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			keep(t, ctx, "failed.png")
			t.Fatalf("not in time: %s", expression)
		}
	}
}

func has(id, text string) string {
	return fmt.Sprintf(`document.getElementById(%q).textContent.includes(%q)`, id, text)
}

// users are accounts from one number until another, for POST /users and /login.
func users(from, until int) []string {
	var all []string
	for i := from; i < until; i++ {
		all = append(all, fmt.Sprintf(`{"username":"customer%02d","password":"correct horse battery staple"}`, i))
	}
	return all
}

// all posts each body, a few at a time.
func (r running) all(t *testing.T, path string, want int, bodies []string) {
	t.Helper()
	var running sync.WaitGroup
	at := make(chan struct{}, 4)
	for _, body := range bodies {
		at <- struct{}{}
		running.Go(func() {
			if got := status(t, http.MethodPost, r.gateway+path, body); got != want {
				t.Errorf("POST %s %s: %d", path, body, got)
			}
			<-at
		})
	}
	running.Wait()
}

// TestLaunchDay follows a campaign on its page in a browser that is never
// reloaded: the countdown, the first logins, a break of the connection, and all
// places taken. Then it reads the report.
func TestLaunchDay(t *testing.T) {
	program := chromium(t)
	r := stack(t)
	r.all(t, "/users", http.StatusCreated, users(0, 30))
	r.admin(t, "campaign", "end", "--yes")
	r.admin(t, "campaign", "start", "--yes", "--name", "Launch day", "--slots", "24", "--discount", "30", "--starts", "+20s")

	ctx, complaints := browse(t, program)
	chromedp.ListenTarget(ctx, func(event any) {
		if e, ok := event.(*log.EventEntryAdded); ok && e.Entry.Source != log.SourceNetwork {
			*complaints = append(*complaints, e.Entry.Text)
		}
	})
	watch := r.watch(t, "127.0.0.1:0")
	screen(t, ctx, 1920, 1080, "light")
	if err := chromedp.Run(ctx, chromedp.Navigate(watch.url), chromedp.Evaluate(`window.reloaded = false`, nil)); err != nil {
		t.Fatal(err)
	}
	until(t, ctx, has("numbers", "Starts in")+"&&"+has("checks", "mongodb-clock"))
	keep(t, ctx, "watch-scheduled.png")
	until(t, ctx, has("status", "Running: logins count."))

	r.all(t, "/login", http.StatusOK, users(0, 15))
	until(t, ctx, has("numbers", "15 of 24")+"&&"+has("plots", "15 arrivals")+"&& document.title === '15 of 24 · Launch day'")
	for _, look := range []struct {
		name          string
		width, height int64
		scheme        string
	}{
		{"wall-light", 1920, 1080, "light"},
		{"wall-dark", 1920, 1080, "dark"},
		{"phone-light", 360, 740, "light"},
		{"phone-dark", 360, 740, "dark"},
	} {
		screen(t, ctx, look.width, look.height, look.scheme)
		fits(t, ctx, look.width, look.scheme)
		keep(t, ctx, "watch-"+look.name+".png")
	}
	readAloud(t, ctx, 15)
	until(t, ctx, `document.getElementById("bar").getAttribute("aria-valuetext") === "15 of 24 granted"`)

	// With the keyboard alone: the list of checks unfolds, and stays so.
	if err := chromedp.Run(ctx, chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter)); err != nil {
		t.Fatal(err)
	}
	const unfolded = `document.activeElement.tagName === "SUMMARY" && document.activeElement.parentElement.open &&
		getComputedStyle(document.activeElement).outlineStyle === "solid"`
	until(t, ctx, unfolded)

	screen(t, ctx, 1280, 800, "light")
	watch.stop()
	until(t, ctx, has("connection", "Connection lost"))
	keep(t, ctx, "watch-lost.png")
	r.all(t, "/login", http.StatusOK, users(15, 20))
	r.watch(t, strings.TrimSuffix(strings.TrimPrefix(watch.url, "http://"), "/"))
	until(t, ctx, `document.getElementById("connection").textContent === ""&&`+has("numbers", "20 of 24")+"&&"+has("plots", "20 arrivals"))
	until(t, ctx, unfolded)

	r.all(t, "/login", http.StatusOK, users(20, 30))
	until(t, ctx, has("status", "Full: all 24 slots are taken.")+"&&"+has("numbers", "Waiting in line6"))
	until(t, ctx, `window.reloaded === false`)
	if err := chromedp.Run(ctx, chromedp.KeyEvent(kb.Enter), chromedp.Blur("summary", chromedp.ByQuery)); err != nil { // folded again
		t.Fatal(err)
	}
	keep(t, ctx, "watch-full.png")
	r.admin(t, "campaign", "pause", "--yes")
	until(t, ctx, has("status", "Paused since"))
	for _, complaint := range *complaints {
		t.Errorf("the page complains: %s", complaint)
	}
	t.Run("report", func(t *testing.T) { readReport(t, ctx, r) })
}

// readReport reads the report as a person does, without scripts, and prints it.
func readReport(t *testing.T, ctx context.Context, r running) {
	r.admin(t, "campaign", "disqualify", "customer05", "--reason", "bought by a bot", "--yes")
	r.admin(t, "campaign", "extend", "--slots", "26", "--yes")
	r.admin(t, "campaign", "end", "--yes")
	file := filepath.Join(t.TempDir(), "report.html")
	r.admin(t, "campaign", "report", "--html", file)
	if err := chromedp.Run(ctx, emulation.SetScriptExecutionDisabled(true), chromedp.Navigate("file://"+file)); err != nil {
		t.Fatal(err)
	}
	for _, look := range []struct {
		name   string
		width  int64
		scheme string
	}{{"light", 1280, "light"}, {"dark", 1280, "dark"}, {"phone", 360, "light"}} {
		screen(t, ctx, look.width, 800, look.scheme)
		fits(t, ctx, look.width, look.scheme)
		keep(t, ctx, "report-"+look.name+".png")
	}
	var body string
	var pdf []byte
	if err := chromedp.Run(ctx, chromedp.Text("body", &body, chromedp.ByQuery), chromedp.ActionFunc(func(ctx context.Context) (err error) {
		pdf, _, err = page.PrintToPDF().WithPreferCSSPageSize(true).WithPrintBackground(true).Do(ctx)
		return err
	})); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Launch day", "26 of 26", "customer05", "bought by a bot", "slots: 24 → 26", "ops@bank.example", "(no differences|no promise is broken)"} {
		if !regexp.MustCompile(want).MatchString(body) {
			t.Errorf("the report lacks %q:\n%s", want, body)
		}
	}
	keepFile(t, "report.pdf", pdf)
	screen(t, ctx, 794, 1123, "dark") // A4 at 96 dpi; paper is white whatever the reader prefers
	if err := chromedp.Run(ctx, emulation.SetEmulatedMedia().WithMedia("print").WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}})); err != nil {
		t.Fatal(err)
	}
	fits(t, ctx, 794, "light")
	keep(t, ctx, "report-print.png")
	if a4 := regexp.MustCompile(`/MediaBox \[0 0 59[45][.\d]* 84[12][.\d]*\]`); !a4.Match(pdf) {
		t.Error("the pages are not A4")
	}
}

// screen is what the page is seen on.
func screen(t *testing.T, ctx context.Context, width, height int64, scheme string) {
	t.Helper()
	preferred := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}
	if err := chromedp.Run(ctx, chromedp.EmulateViewport(width, height), emulation.SetEmulatedMedia().WithFeatures(preferred)); err != nil {
		t.Fatal(err)
	}
}

// fits wants nothing to be wider than the screen, and the background to be as
// light or dark as the reader prefers.
func fits(t *testing.T, ctx context.Context, width int64, scheme string) {
	t.Helper()
	var widest int64
	var brightness float64
	if err := chromedp.Run(ctx,
		chromedp.Evaluate(`document.documentElement.scrollWidth`, &widest),
		chromedp.Evaluate(`Number(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0])`, &brightness)); err != nil {
		t.Fatal(err)
	}
	if dark := brightness < 100; widest > width || dark != (scheme == "dark") {
		t.Errorf("%s on %d px: it is %d px wide, and its background has %v of 255", scheme, width, widest, brightness)
	}
}

// readAloud looks at what a screen reader is given: the progress as a value, the
// state as something to say when it changes, and each plot in words.
func readAloud(t *testing.T, ctx context.Context, granted int) {
	t.Helper()
	type value struct {
		Value any `json:"value"`
	}
	var tree struct { // not cdproto's, which refuses what a newer browser adds
		Nodes []struct {
			Ignored     bool  `json:"ignored"`
			Role        value `json:"role"`
			Name        value `json:"name"`
			Value       value `json:"value"`
			Description value `json:"description"`
			Properties  []struct {
				Name  string `json:"name"`
				Value value  `json:"value"`
			} `json:"properties"`
		} `json:"nodes"`
	}
	if err := chromedp.Run(ctx, chromedp.ActionFunc(func(ctx context.Context) error {
		return cdp.Execute(ctx, accessibility.CommandGetFullAXTree, nil, &tree)
	})); err != nil {
		t.Fatal(err)
	}
	var heard []string
	for _, n := range tree.Nodes {
		if n.Ignored {
			continue
		}
		line := fmt.Sprint(n.Role.Value, " ", n.Name.Value, " ", n.Value.Value, " ", n.Description.Value)
		for _, p := range n.Properties {
			line += fmt.Sprintf(" %s=%v", p.Name, p.Value.Value)
		}
		heard = append(heard, line)
	}
	all := strings.Join(heard, "\n")
	for _, want := range []string{
		fmt.Sprintf("progressbar Granted %d <nil> valuemin=0 valuemax=24", granted), "status", "live=polite",
		"Arrivals a minute " + fmt.Sprintf("%d arrivals.", granted), "heading Launch day",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("a screen reader is not given %q:\n%s", want, all)
		}
	}
}
