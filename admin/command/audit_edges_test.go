package command

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestAuditEdges: an edge that has what the log has is no difference; one that has
// more breaks a promise; one that cannot be asked is named, and breaks none.
func TestAuditEdges(t *testing.T) {
	s := newStores(t)
	s.mustRun(t, "campaign start --yes --name L --slots 2 --discount 10")
	place(t, s.replica(t), "a")
	at := s.latest(t).At()
	edge := func(epoch, seq, limit, fresh int64) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/metrics" {
				http.NotFound(w, r)
				return
			}
			_, _ = fmt.Fprintf(w, "# HELP earlybird_auth_campaign_epoch e\n# TYPE earlybird_auth_campaign_epoch gauge\nearlybird_auth_campaign_epoch %e\n",
				float64(epoch)) // as Prometheus writes large numbers
			_, _ = fmt.Fprintf(w, "earlybird_auth_campaign_seq %d\nearlybird_auth_campaign_limit %d\nearlybird_auth_campaign_fresh %d\nother{a=\"b\"} 1\n", seq, limit, fresh)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	empty := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer empty.Close()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	well := edge(at.Epoch, at.Seq, 2, 1)
	for name, tt := range map[string]struct {
		edges  string
		status int
		want   []string
	}{
		"none":           {"", exitDone, []string{"The edges are not compared: none was named with --edge."}},
		"one":            {"--edge " + well, exitDone, []string{"The edges are compared: 1."}},
		"two":            {"--edge " + well + "/metrics --edge " + edge(at.Epoch, at.Seq-1, 2, 1), exitDone, []string{"The edges are compared: 2."}},
		"with commas":    {"--edge " + well + "," + well + "/", exitDone, []string{"The edges are compared: 2."}},
		"one is behind":  {"--output csv --edge " + edge(at.Epoch, at.Seq, 2, 0), exitDone, []string{"\nedge,false,,the edge http://127.0.0.1:", "grant=unknown"}},
		"one is beyond":  {"--output csv --edge " + edge(at.Epoch, at.Seq+1, 2, 1), exitFailed, []string{"\nlost,true,,"}},
		"another limit":  {"--output csv --edge " + edge(at.Epoch, at.Seq, 3, 1), exitFailed, []string{"\ndiffers,true,,", "tells positions up to 3 as granted"}},
		"one is down":    {"--output csv --edge http://me:hunter2@127.0.0.1:1", exitDone, []string{"\nedge,false,,the edge http://127.0.0.1:1/metrics cannot be compared: dial tcp"}},
		"another server": {"--output csv --edge " + empty.URL, exitDone, []string{"it has no earlybird_auth_campaign_epoch: is it an earlybird-auth"}},
		"not found":      {"--output json --edge " + well + "/x", exitDone, []string{`"edges":"compared: 0 of 1"`, "it answers with status 404"}},
		"one is silent":  {"--output csv --edge " + silent.URL, exitDone, []string{"cannot be compared: context deadline exceeded"}},
		"no URL":         {"--edge kong-1:9542", exitUsage, nil},
		"empty":          {"--edge=", exitUsage, nil},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			status, out, errs := s.run(t.Context(), strings.NewReader(""), "campaign audit "+tt.edges)
			if status != tt.status {
				t.Errorf("exit %d, want %d: %s%s", status, tt.status, out, errs)
			}
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in:\n%s", want, out)
				}
			}
			if strings.Contains(out+errs, "hunter2") || time.Since(began) > 5*edgeTimeout {
				t.Errorf("after %s: %s%s", time.Since(began), out, errs)
			}
		})
	}
	s.mustRun(t, "campaign end --yes")
	if out := s.mustRun(t, "campaign audit --campaign 1 --edge "+edge(at.Epoch, at.Seq, 2, 1)); !strings.Contains(out, "compared: 1") {
		t.Errorf("of one that has ended and is in force:\n%s", out)
	}
}
