package browser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

const patience = 3 * time.Minute

// chromium finds the browser; without it the test skips, or fails where real
// servers are required.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("EARLYBIRD_REQUIRE_REAL") == "1" {
		t.Fatal("chromium is required (EARLYBIRD_REQUIRE_REAL=1) and not there")
	}
	t.Skip("chromium is not there")
	return ""
}

// running is where everything runs.
type running struct{ bin, gateway, identity, mongo, redis string }

// stack runs everything on free ports.
func stack(t *testing.T) running {
	t.Helper()
	root, bin := filepath.Join("..", ".."), t.TempDir()
	for name, from := range map[string][2]string{
		"earlybird": {root, "./admin"}, "earlybird-identity": {root, "./identity"}, "earlybird-auth": {root, "./plugin/earlybird-auth"},
		"earlybird-tag": {root, "./plugin/earlybird-tag"}, "earlybird-local": {filepath.Join(root, "deploy", "local"), "."},
	} {
		command := exec.Command("go", "-C", from[0], "build", "-trimpath", "-o", filepath.Join(bin, name), from[1])
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	at := freeAddresses(t, 4)
	var said bytes.Buffer
	process := exec.Command(filepath.Join(bin, "earlybird-local"), "--data", t.TempDir(),
		"--gateway", at[0], "--identity", at[1], "--mongo", at[2], "--redis", at[3])
	process.Stdout, process.Stderr = &said, &said
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Signal(syscall.SIGTERM)
		_ = process.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	all := running{bin, "http://" + at[0], "http://" + at[1], "mongodb://" + at[2] + "/earlybird", "redis://" + at[3] + "/0"}
	deadline := time.Now().Add(time.Minute)
	for status(t, http.MethodGet, all.gateway+"/promotion", "") != http.StatusUnauthorized {
		if time.Now().After(deadline) {
			t.Fatal("the stack does not become ready")
		}
		time.Sleep(50 * time.Millisecond)
	}
	return all
}

// freeAddresses returns addresses with ports below those of outgoing connections,
// one of which could take a port before a server does.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	var all []string
	for attempts := 100 * n; len(all) < n; attempts-- {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.N(20_000)))
		if err != nil && attempts == 0 {
			t.Fatal(err)
		}
		if err == nil {
			defer l.Close() // all at the end, so that none is given twice
			all = append(all, l.Addr().String())
		}
	}
	return all
}

// status makes a request and returns the status, 0 when nobody answers.
func status(t *testing.T, method, url, body string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// browse starts a browser of its own, and collects what its page complains of.
func browse(t *testing.T, program string) (ctx context.Context, complaints *[]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	options := append([]chromedp.ExecAllocatorOption{},
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.Headless,
		chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.WindowSize(1280, 1600),
		chromedp.WSURLReadTimeout(time.Minute))
	for _, flag := range []string{
		"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, stopBrowser := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stopBrowser)
	ctx, closePage := chromedp.NewContext(ctx)
	t.Cleanup(closePage)
	complaints = new([]string)
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			*complaints = append(*complaints, e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.APITypeError {
				*complaints = append(*complaints, fmt.Sprint(e.Args))
			}
		}
	})
	return ctx, complaints
}

// keep writes a screenshot where the run's files are kept.
func keep(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	var picture []byte
	if err := chromedp.Run(ctx, chromedp.FullScreenshot(&picture, 100)); err != nil {
		t.Errorf("screenshot: %v", err)
		return
	}
	keepFile(t, name, picture)
}

// keepFile writes a file there.
func keepFile(t *testing.T, name string, content []byte) {
	t.Helper()
	dir := os.Getenv("EARLYBIRD_SCREENSHOTS")
	if dir == "" {
		dir = t.ArtifactDir()
	}
	err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name), content, 0o644))
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d bytes in %s", len(content), filepath.Join(dir, name))
}

// execute opens an operation, fills in a body, sends it, and returns the status
// and the body that the page shows.
func execute(t *testing.T, ctx context.Context, operation, body string) (string, string) {
	t.Helper()
	block := "#operations-" + operation
	answer := block + " .live-responses-table .response"
	steps := []chromedp.Action{
		chromedp.Click(block+" .opblock-summary-control", chromedp.ByQuery),
		chromedp.Click(block+" .try-out__btn", chromedp.ByQuery),
	}
	if body != "" {
		// The page is React: a value is taken when an event says that it changed.
		steps = append(steps, chromedp.WaitVisible(block+" textarea.body-param__text", chromedp.ByQuery),
			chromedp.Evaluate(fmt.Sprintf(`(() => {
				const at = document.querySelector(%q);
				Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(at, %q);
				at.dispatchEvent(new Event("input", {bubbles: true}));
				at.dispatchEvent(new Event("change", {bubbles: true}));
			})()`, block+" textarea.body-param__text", body), nil))
	}
	var status, shown string
	steps = append(steps,
		chromedp.Click(block+" .execute", chromedp.ByQuery),
		chromedp.Text(answer+" .response-col_status", &status, chromedp.ByQuery),
		chromedp.Text(answer+" .response-col_description pre", &shown, chromedp.ByQuery))
	if err := chromedp.Run(ctx, steps...); err != nil {
		keep(t, ctx, "failed.png")
		t.Fatalf("%s: %v", operation, err)
	}
	return strings.TrimSpace(status), shown
}

// TestDocs does on the page /docs, through the gateway, what a person does:
// log in, authorize with the token, and read the promotion.
func TestDocs(t *testing.T) {
	program := chromium(t)
	gateway := stack(t).gateway
	account := `{"username":"alice","password":"correct horse battery staple"}`
	if got := status(t, http.MethodPost, gateway+"/users", account); got != http.StatusCreated {
		t.Fatalf("POST /users: %d", got)
	}
	ctx, complaints := browse(t, program)
	if err := chromedp.Run(ctx, chromedp.Navigate(gateway+"/docs"), chromedp.WaitVisible("#operations-accounts-login", chromedp.ByQuery)); err != nil {
		t.Fatal(err)
	}
	got, body := execute(t, ctx, "accounts-login", account)
	_, after, _ := strings.Cut(body, `"token": "`)
	token, _, _ := strings.Cut(after, `"`)
	if got != "200" || strings.Count(token, ".") != 2 {
		t.Fatalf("login: %s %s", got, body)
	}
	err := chromedp.Run(ctx,
		chromedp.Click(".scheme-container .btn.authorize", chromedp.ByQuery),
		chromedp.SendKeys(".auth-container input", token, chromedp.ByQuery),
		chromedp.Click(".auth-btn-wrapper .authorize", chromedp.ByQuery),
		chromedp.WaitVisible(".auth-btn-wrapper .btn-done", chromedp.ByQuery),
		chromedp.Click(".auth-btn-wrapper .btn-done", chromedp.ByQuery))
	if err != nil {
		keep(t, ctx, "failed.png")
		t.Fatalf("authorize: %v", err)
	}
	got, body = execute(t, ctx, "promotion-promotion", "")
	if got != "200" || !strings.Contains(body, `"discount": 30`) || !strings.Contains(body, `"rank": 1`) {
		t.Errorf("promotion: %s %s", got, body)
	}
	for _, complaint := range *complaints {
		t.Errorf("the page complains: %s", complaint)
	}
	keep(t, ctx, "docs.png")
	for _, scheme := range []string{"light", "dark"} {
		t.Run("on a phone, "+scheme, func(t *testing.T) { onAPhone(t, ctx, gateway, scheme) })
	}
}

// onAPhone opens the page 390 px wide, an operation unfolded: nothing is wider
// than the screen, and the page is as light or dark as the reader's system.
func onAPhone(t *testing.T, ctx context.Context, gateway, scheme string) {
	t.Helper()
	preferred := &emulation.MediaFeature{Name: "prefers-color-scheme", Value: scheme}
	login := "#operations-accounts-login"
	var widest, brightness float64
	err := chromedp.Run(ctx,
		chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{preferred}),
		chromedp.Navigate(gateway+"/docs"),
		chromedp.Click(login+" .opblock-summary-control", chromedp.ByQuery),
		chromedp.WaitVisible(login+" .responses-table", chromedp.ByQuery),
		chromedp.Evaluate(`document.documentElement.scrollWidth`, &widest),
		chromedp.Evaluate(`Number(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0])`, &brightness))
	if err != nil {
		t.Fatal(err)
	}
	if widest > 390 {
		t.Errorf("the page is %v px wide", widest)
	}
	if dark := brightness < 100; dark != (scheme == "dark") {
		t.Errorf("the background has %v of 255", brightness)
	}
	keep(t, ctx, "docs-phone-"+scheme+".png")
}
