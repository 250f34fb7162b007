package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

type promotionBody struct {
	Name        string    `json:"name" doc:"The campaign's name." example:"Early Bird"`
	Discount    int64     `json:"discount" doc:"In percent: 30 means 30 %." minimum:"0" maximum:"100" example:"30"`
	Description string    `json:"description" doc:"The campaign's description, may be empty." example:"30 % off for the first 100"`
	Campaign    string    `json:"campaign" doc:"The campaign's id." example:"1"`
	Rank        int64     `json:"rank" doc:"1 for the first who logged in." minimum:"1" example:"42"`
	GrantedAt   time.Time `json:"granted_at" doc:"RFC 3339, UTC: when the place came to be among the granted." example:"2026-11-22T09:00:00Z"`
}

type promotionOutput struct {
	CacheControl string `header:"Cache-Control" doc:"no-store"`
	ContentType  string `header:"Content-Type" hidden:"true"`
	Body         promotionBody
}

func (a *API) addPromotion() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "promotion", Method: http.MethodGet, Path: "/promotion",
		Summary: "Read your promotion",
		Tags:    []string{"promotion"}, Security: bearerSecurity,
		Responses:   a.answers(tokenStatuses, http.StatusNotFound, http.StatusServiceUnavailable),
		Middlewares: huma.Middlewares{a.opened, a.authenticate},
	}, a.promotion)
}

func (a *API) promotion(ctx context.Context, _ *struct{}) (*promotionOutput, error) {
	p, err := a.backend.Load().Promotions.Promotion(ctx, caller(ctx).Subject)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	out := &promotionOutput{
		CacheControl: noStore, ContentType: jsonMediaType,
		Body: promotionBody{
			Name: p.Name, Discount: p.Discount, Description: p.Description,
			Campaign: strconv.FormatInt(p.Campaign, 10), Rank: p.Rank, GrantedAt: p.GrantedAt,
		},
	}
	return out, nil
}
