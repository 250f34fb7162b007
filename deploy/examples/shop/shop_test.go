package shop

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestPrice(t *testing.T) {
	for name, tt := range map[string]struct {
		header string
		status int
		body   string // empty: a problem
	}{
		"a grant":       {`user="u", token="t", campaign="1", rank=1, discount=30`, 200, `{"list":100.00,"discount":30,"price":70.00}`},
		"no grant":      {`user="u", token="t"`, 200, `{"list":100.00,"discount":0,"price":100.00}`},
		"for nothing":   {`user="u", token="t", campaign="1", rank=1, discount=100`, 200, `{"list":100.00,"discount":100,"price":0.00}`},
		"unknown":       {`user="u", token="t", grant=unknown`, 503, ""},
		"no header":     {"", 401, ""},
		"nobody":        {`campaign="1", rank=1, discount=30`, 401, ""},
		"half a grant":  {`user="u", token="t", discount=30`, 401, ""},
		"not a header":  {`user=`, 401, ""},
		"more than all": {`user="u", token="t", campaign="1", rank=1, discount=130`, 401, ""},
	} {
		t.Run(name, func(t *testing.T) {
			request := httptest.NewRequest(http.MethodGet, "/shop/price", nil)
			if tt.header != "" {
				request.Header.Set("Earlybird", tt.header)
			}
			w := httptest.NewRecorder()
			Handler().ServeHTTP(w, request)
			if w.Code != tt.status || w.Header().Get("Cache-Control") != "no-store" {
				t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
			}
			if (w.Header().Get("Retry-After") != "") != (tt.status == 503) || (w.Header().Get("WWW-Authenticate") != "") != (tt.status == 401) {
				t.Errorf("%d with %v", w.Code, w.Header())
			}
			if tt.body != "" {
				if got := w.Body.String(); got != tt.body+"\n" || w.Header().Get("Content-Type") != "application/json" {
					t.Errorf("%s, want %s", got, tt.body)
				}
				return
			}
			var problem struct{ Status int }
			if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || problem.Status != tt.status || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %v", w.Body, err)
			}
		})
	}
}

// TestMoney: to the cent, and never less than nothing.
func TestMoney(t *testing.T) {
	for _, tt := range []struct {
		list     Money
		discount int64
		want     string
	}{{100_00, 30, "70.00"}, {99_99, 33, "66.99"}, {1, 50, "0.00"}, {1, 49, "0.01"}, {10_05, 50, "5.02"}, {5, 0, "0.05"}, {1_000_000_00, 100, "0.00"}} {
		if got, err := tt.list.less(tt.discount).MarshalJSON(); string(got) != tt.want || err != nil {
			t.Errorf("%d cents less %d %%: %s, %v; want %s", tt.list, tt.discount, got, err, tt.want)
		}
	}
}
