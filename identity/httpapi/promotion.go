package httpapi

import (
	"net/http"
	"strconv"
	"time"
)

type promotionBody struct {
	Name        string    `json:"name"`
	Discount    int64     `json:"discount"` // percent
	Description string    `json:"description"`
	Campaign    string    `json:"campaign"`
	Rank        int64     `json:"rank"`
	GrantedAt   time.Time `json:"granted_at"` // UTC
}

func (a *API) promotion(w http.ResponseWriter, r *http.Request, b *Backend) error {
	claims, err := b.authenticate(r)
	if err != nil {
		return err
	}
	p, err := b.Promotions.Promotion(r.Context(), claims.Subject)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, promotionBody{
		Name: p.Name, Discount: p.Discount, Description: p.Description,
		Campaign: strconv.FormatInt(p.Campaign, 10), Rank: p.Rank, GrantedAt: p.GrantedAt,
	})
	return nil
}
