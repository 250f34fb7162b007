// Package shop is an example of a service behind Kong: it charges users who hold a
// grant less. deploy/docs/services.md explains it.
package shop

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/earlybird/earlybird/plugin/earlybird"
)

// list is what everything costs here.
const list Money = 100_00

// Money is an amount in cents.
type Money int64

// MarshalJSON writes an amount with two decimals, such as 70.00.
func (m Money) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%d.%02d", m/100, m%100), nil
}

// less is the amount less a discount in percent, rounded to the cent.
func (m Money) less(discount int64) Money {
	return m - (m*Money(discount)+50)/100
}

// Handler serves GET /shop/price, which answers what the caller pays.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /shop/price", price)
	return mux
}

func price(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store") // it is another one for each user
	user, err := earlybird.Parse(r.Header.Values(earlybird.Header))
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer realm="earlybird"`)
		refuse(w, http.StatusUnauthorized, "Log in first.")
		return
	}
	grant, err := user.Grant()
	if errors.Is(err, earlybird.ErrUnknown) {
		w.Header().Set("Retry-After", "2")
		refuse(w, http.StatusServiceUnavailable, "Your discount cannot be looked up now. Try again.")
		return
	}
	answer(w, http.StatusOK, "application/json", struct {
		List     Money `json:"list"`
		Discount int64 `json:"discount"` // percent
		Price    Money `json:"price"`
	}{list, grant.Discount, list.less(grant.Discount)})
}

// refuse answers with a problem (RFC 9457).
func refuse(w http.ResponseWriter, status int, detail string) {
	answer(w, status, "application/problem+json", struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(status), status, detail})
}

func answer(w http.ResponseWriter, status int, media string, body any) {
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}
