package httpapi

import (
	"crypto/sha256"
	_ "embed" // the head of the page
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"
)

// docsHead makes Swagger UI's page fit a phone and follow the reader's light or
// dark.
//
//go:embed docs_head.html
var docsHead string

// docsFiles are the files of Swagger UI that its page refers to.
var docsFiles = []string{
	"swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js",
	"favicon-16x16.png", "favicon-32x32.png",
}

// addDocs serves the description and the page to try it.
func (a *API) addDocs(mux *http.ServeMux) {
	text := describe(a.Version, a.Codes)
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", jsonMediaType)
		_, _ = w.Write(text) // the client may be gone
	})
	ui := v5emb.NewHandlerWithConfig(swgui.Config{
		Title: "Earlybird identity", SwaggerJSON: "/openapi.json", BasePath: "/docs/",
		AppendHead: template.HTML(docsHead), //nolint:gosec // G203: it is a file of this package
	})
	policy := docsPolicy(ui)
	page := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		ui.ServeHTTP(w, r)
	}
	mux.HandleFunc("GET /docs", page)
	mux.HandleFunc("GET /docs/{$}", page)
	for _, file := range docsFiles {
		mux.Handle("GET /docs/"+file, ui)
	}
}

var (
	inlineScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
	inlineStyle  = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
)

// docsPolicy allows the page its own files and, by hash, exactly the inline
// blocks that Swagger UI's page has, and nothing from anywhere else (CSP level
// 3). The page is the same for everybody, so it is rendered once to be hashed.
func docsPolicy(ui http.Handler) string {
	var rendered capture
	ui.ServeHTTP(&rendered, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/docs"}})
	page := rendered.body.String()
	return strings.Join([]string{
		"default-src 'none'",
		"script-src 'self'" + hashes(inlineScript, page),
		"style-src 'self'" + hashes(inlineStyle, page),
		"img-src 'self' data:",
		"connect-src 'self'",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
	}, "; ")
}

func hashes(block *regexp.Regexp, page string) string {
	var allowed strings.Builder
	for _, found := range block.FindAllStringSubmatch(page, -1) {
		sum := sha256.Sum256([]byte(found[1]))
		fmt.Fprintf(&allowed, " 'sha256-%s'", base64.StdEncoding.EncodeToString(sum[:]))
	}
	return allowed.String()
}
