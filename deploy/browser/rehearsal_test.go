package browser

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"
)

// TestRehearsal reads the report of a rehearsal, without scripts.
func TestRehearsal(t *testing.T) {
	program := chromium(t)
	r := stack(t)
	r.admin(t, "campaign", "end", "--yes")
	file := filepath.Join(t.TempDir(), "rehearsal.html")
	r.admin(t, "rehearse", "--users", "40", "--rate", "10/s", "--slots", "12", "--cores", "2", "--html", file, "--yes")

	ctx, complaints := browse(t, program)
	chromedp.ListenTarget(ctx, func(event any) {
		if e, ok := event.(*log.EventEntryAdded); ok {
			*complaints = append(*complaints, e.Entry.Text)
		}
	})
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
		keep(t, ctx, "rehearsal-"+look.name+".png")
	}
	var body string
	if err := chromedp.Run(ctx, chromedp.Text("body", &body, chromedp.ByQuery)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"A rehearsal: nobody won anything.", "12 of 12 slots were granted", "40 within", "Who was first", "rehearsal-"} {
		if !strings.Contains(body, want) {
			t.Errorf("the report lacks %q:\n%s", want, body)
		}
	}
	for _, complaint := range *complaints {
		t.Errorf("the page complains: %s", complaint)
	}
}
