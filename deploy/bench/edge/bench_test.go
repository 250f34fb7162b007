//go:build linux

// Package edge holds the benchmark of the two plugins: `make bench-edge`
// drives their programs over the unix socket as one of Kong's workers does,
// beside a plugin on go-pdk's own server that makes the same two calls.
package edge_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"

	"github.com/earlybird/earlybird/deploy/plugintest"
	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/plugin/schema"
	"github.com/earlybird/earlybird/plugin/settings"
)

// How much is measured; see also plan.
var (
	rounds   = flag.Int("edge.rounds", 5, "how often each case is measured; the median counts")
	duration = flag.Duration("edge.duration", time.Second, "of each measurement")
	tokens   = flag.Int("edge.tokens", 1_000_000, "distinct tokens that the memory is measured with")
)

type plan struct {
	connections []int
	rounds      int
	duration    time.Duration
	cold        int // tokens of one cold measurement
	tokens      int
}

// BenchmarkEdge is `make bench-edge`.
func BenchmarkEdge(b *testing.B) {
	measure(b, plan{[]int{1, 8, 64, 256}, *rounds, *duration, int(8000 * duration.Seconds()), *tokens})
}

// TestBenchmark holds that the benchmark works, in little time.
func TestBenchmark(t *testing.T) {
	measure(t, plan{[]int{1, 8}, 1, 20 * time.Millisecond, 50, 500})
}

// scene is what the plugins under test need around them.
type scene struct {
	redisURL string
	identity *plugintest.Identity
	campaign *plugintest.Campaign
	folder   string // of the programs
}

func newScene(t testing.TB) *scene {
	t.Helper()
	s := &scene{redisURL: testserver.Redis(t).URL(), identity: plugintest.NewIdentity(t)}
	s.campaign = plugintest.NewCampaign(t, s.redisURL)
	plugintest.NewRevocations(t, s.redisURL)
	s.campaign.Start(t, 100)
	s.campaign.Placed(t, "winner")
	s.folder = testserver.Programs(t, "stock", settings.AuthName, settings.TagName)
	return s
}

func (s *scene) config(of schema.Schema) map[string]any {
	return schema.Fill(of, map[string]any{"issuer": plugintest.Issuer, "jwks_url": s.identity.URL, "redis_url": s.redisURL})
}

func bearer(raw string) []byte { return frame(&kong_plugin_protocol.String{V: "Bearer " + raw}) }

// fresh issues tokens of users who have never been seen.
func (s *scene) fresh(t testing.TB, from, n int) [][]byte {
	t.Helper()
	frames := make([][]byte, n)
	var workers sync.WaitGroup
	for w := range 2 {
		workers.Go(func() {
			for i := w; i < n; i += 2 {
				raw, _ := s.identity.Token(t, fmt.Sprintf("USER%022d", from+i))
				frames[i] = bearer(raw)
			}
		})
	}
	workers.Wait()
	return frames
}

// subject is one row of the table.
type subject struct {
	name    string
	process *process
	driver  *driver
	prepare func() // before each measurement, not measured
	rejects bool
	results map[int][]result // by connections
}

type result struct{ rate, cpu, allocations, driverCPU float64 }

// measure runs everything and prints the tables.
func measure(t testing.TB, p plan) {
	s := newScene(t)
	subjects := s.subjects(t, p)
	for _, n := range p.connections {
		for range p.rounds {
			for _, sub := range subjects { // in turn, so that a busy moment hits all of them
				sub.results[n] = append(sub.results[n], sub.once(t, n, p.duration))
			}
		}
	}
	printTable(p, subjects)
	s.memory(t, p.tokens)
}

func (s *scene) subjects(t testing.TB, p plan) []*subject {
	stock, authPlugin, tagPlugin := start(t, s.folder, "stock"), start(t, s.folder, settings.AuthName), start(t, s.folder, settings.TagName)
	raw, _ := s.identity.Token(t, "winner")
	forged := []byte(raw)
	copy(forged[len(forged)-12:], "AAAAAAAA")

	access := map[string][]byte{getHeader: bearer(raw), "kong.service.request.set_header": frame(nil)}
	rejected := map[string][]byte{getHeader: bearer(string(forged))}
	response := map[string][]byte{
		"kong.service.response.get_status": frame(&kong_plugin_protocol.Int{V: 200}),
		"kong.service.response.get_header": frame(&kong_plugin_protocol.String{V: s.campaign.Login(t, "winner")}),
		"kong.service.response.get_raw_body": frame(&kong_plugin_protocol.RawBodyResult{Kind: &kong_plugin_protocol.RawBodyResult_Content{
			Content: []byte(`{"token":"` + raw + `"}`),
		}}),
		"kong.response.set_header": frame(nil),
	}
	on := func(process *process, id int32, phase string, replies map[string][]byte) *subject {
		return &subject{
			process: process, prepare: func() {}, results: map[int][]result{},
			driver: &driver{socket: process.socket, call: eventFrame(id, phase), replies: replies},
		}
	}
	authID := authPlugin.instance(t, s.config(settings.AuthSchema()))
	floor := on(stock, stock.instance(t, map[string]any{}), "access", access)
	floor.name = "go-pdk's server, the same two calls"
	warm := on(authPlugin, authID, "access", access)
	warm.name = "earlybird-auth, warm"
	cold := on(authPlugin, authID, "access", access)
	cold.name = "earlybird-auth, cold: every token and user new"
	s.makeCold(t, cold, p.cold)
	reject := on(authPlugin, authID, "access", rejected)
	reject.name, reject.rejects = "earlybird-auth, rejecting a forged signature", true
	tagging := on(tagPlugin, tagPlugin.instance(t, s.config(settings.TagSchema())), "response", response)
	tagging.name = "earlybird-tag"
	return []*subject{floor, warm, cold, reject, tagging}
}

func (s *scene) makeCold(t testing.TB, cold *subject, n int) {
	var left [][]byte
	issued := 0
	cold.prepare = func() {
		left = s.fresh(t, issued, n)
		issued += n
	}
	cold.driver.next = func() []byte {
		if len(left) == 0 {
			return nil
		}
		first := left[0]
		left = left[1:]
		return first
	}
}

// once measures one run, after a short one that is not measured.
func (sub *subject) once(t testing.TB, connections int, limit time.Duration) result {
	t.Helper()
	if sub.driver.next == nil {
		sub.drive(t, connections, limit/10)
	}
	sub.prepare()
	scrape := sub.process.mallocs(t)
	scrape = sub.process.mallocs(t) - scrape // what reading the metric allocates
	mallocs, cpu, own := sub.process.mallocs(t), sub.process.cpu(t), ownCPU(t)
	c, took := sub.drive(t, connections, limit)
	own, cpu = ownCPU(t)-own, sub.process.cpu(t)-cpu
	mallocs = sub.process.mallocs(t) - mallocs - scrape
	n := float64(c.requests())
	return result{n / took.Seconds(), cpu.Seconds() * 1e6 / n, max(mallocs, 0) / n, own.Seconds() * 1e6 / n}
}

func (sub *subject) drive(t testing.TB, connections int, limit time.Duration) (counts, time.Duration) {
	t.Helper()
	c, took, err := sub.driver.run(connections, limit)
	if err != nil {
		t.Fatalf("%s: %v", sub.name, err)
	}
	if c.requests() == 0 || sub.rejects != (c.exited > 0) || sub.rejects && c.passed > 0 {
		t.Fatalf("%s: %+v is not what this measures", sub.name, c)
	}
	return c, took
}

func (sub *subject) median(connections int, of func(result) float64) float64 {
	var all []float64
	for _, r := range sub.results[connections] {
		all = append(all, of(r))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// ratio is the median of the ratios of two measurements that were made one
// after the other.
func ratio(floor, warm *subject, connections int, of func(result) float64) float64 {
	var all []float64
	for i, r := range warm.results[connections] {
		all = append(all, of(r)/of(floor.results[connections][i]))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func printTable(p plan, subjects []*subject) {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	defer func() { _ = out.Flush() }()
	columns := []struct {
		name, format string
		of           func(result) float64
	}{
		{"requests/s", "%.0f", func(r result) float64 { return r.rate }},
		{"plugin's CPU, us a request", "%.1f", func(r result) float64 { return r.cpu }},
		{"allocations a request", "%.1f", func(r result) float64 { return r.allocations }},
		{"the driver's CPU, us a request", "%.1f", func(r result) float64 { return r.driverCPU }},
	}
	for _, column := range columns {
		_, _ = fmt.Fprintf(out, "\n| %s\t", column.name)
		for _, n := range p.connections {
			_, _ = fmt.Fprintf(out, "| %d\t", n)
		}
		_, _ = fmt.Fprintf(out, "|\n|%s\n", strings.Repeat("---|", 1+len(p.connections)))
		for _, sub := range subjects {
			_, _ = fmt.Fprintf(out, "| %s\t", sub.name)
			for _, n := range p.connections {
				_, _ = fmt.Fprintf(out, "| "+column.format+"\t", sub.median(n, column.of))
			}
			_, _ = fmt.Fprintln(out, "|")
		}
	}
	floor, warm := subjects[0], subjects[1]
	for _, n := range p.connections {
		rate := ratio(floor, warm, n, columns[0].of)
		cpu := ratio(floor, warm, n, columns[1].of)
		_, _ = fmt.Fprintf(out, "\nwarm to go-pdk's server at %d connections: %.2f of the requests/s, %.2f of the CPU", n, rate, cpu)
	}
	_, _ = fmt.Fprintln(out)
}

// memory sends distinct tokens to an earlybird-auth of its own, and prints how
// much memory it takes meanwhile.
func (s *scene) memory(t testing.TB, total int) {
	p := start(t, s.folder, settings.AuthName)
	d := &driver{
		socket: p.socket, call: eventFrame(p.instance(t, s.config(settings.AuthSchema())), "access"),
		replies: map[string][]byte{getHeader: nil, "kong.service.request.set_header": frame(nil)},
	}
	fmt.Printf("\n| distinct tokens | remembered | heap, MB | resident, MB |\n|---|---|---|---|\n")
	for sent, steps := 0, 10; sent <= total; sent += total / steps {
		if sent > 0 {
			s.send(t, d, sent-total/steps, total/steps)
		}
		fmt.Printf("| %d | %.0f | %.0f | %.0f |\n", sent, p.metric(t, "earlybird_auth_tokens"),
			p.metric(t, "go_memstats_heap_inuse_bytes")/1e6, float64(p.resident(t))/1e6)
	}
}

func (s *scene) send(t testing.TB, d *driver, from, n int) {
	t.Helper()
	const batch = 20_000
	for n > 0 {
		left := s.fresh(t, 1_000_000_000+from, min(n, batch))
		from, n = from+len(left), n-len(left)
		want := len(left)
		d.next = func() []byte {
			if len(left) == 0 {
				return nil
			}
			first := left[0]
			left = left[1:]
			return first
		}
		if c, _, err := d.run(8, time.Hour); err != nil || c.passed != want {
			t.Fatalf("%+v, %v", c, err)
		}
	}
}
