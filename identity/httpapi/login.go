package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
)

// credentials is the body of POST /login. A name or password that no account
// can have is wrong (401), not invalid: the two answers would tell apart what
// one may not know.
type credentials struct {
	Username string `json:"username" minLength:"1" maxLength:"256" doc:"the name given at registration, 1 to 256 characters" example:"alice"`
	Password string `json:"password" minLength:"1" maxLength:"512" format:"password" doc:"the password, 1 to 512 characters" example:"correct horse battery staple"`
}

type loginInput struct {
	Body credentials
}

type tokenBody struct {
	Token string `json:"token" doc:"An access token (RFC 9068), valid for 30 minutes." example:"eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.e30.c2ln"`
}

type loginOutput struct {
	CacheControl string `header:"Cache-Control" doc:"no-store"`
	ContentType  string `header:"Content-Type" hidden:"true"`
	Earlybird    string `header:"Earlybird" doc:"How the login stands in the promotion; see the operation's description."`
	Body         tokenBody
}

func (a *API) addLogin() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "login", Method: http.MethodPost, Path: "/login",
		Summary: "Log in",
		Description: "The header Earlybird is a dictionary (RFC 9651) that says how the login stands in the promotion: " +
			"status=granted with campaign, rank and discount, or status=full, none, paused, ended, pending or retry. " +
			"pending: the login counted, GET /promotion tells how; asked directly, without the gateway, every login that " +
			"counted is pending, with a place for the gateway to look up. retry: it may not have counted; log in again, " +
			"a few times, waiting one second and then twice as long each time, with jitter. " +
			"The token of a one-time password opens PUT /users/{id}/password alone and counts for no promotion.",
		Tags:             []string{"accounts"},
		Responses:        a.answers(bodyStatuses, http.StatusUnauthorized, http.StatusServiceUnavailable),
		SkipValidateBody: true, MaxBodyBytes: MaxBody + 1, BodyReadTimeout: -1,
		Middlewares: huma.Middlewares{a.opened, a.admitBody},
	}, a.login)
}

func (a *API) login(ctx context.Context, in *loginInput) (*loginOutput, error) {
	credential, err := a.backend.Load().Accounts.Authenticate(ctx, account.LoginRequest{
		Username: in.Body.Username, Password: in.Body.Password,
		IP: clientAddress(ctx), RequestID: RequestID(ctx),
	})
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	issuer := a.backend.Load().Issuer
	if credential.OneTime() {
		issuer = a.backend.Load().PasswordIssuer
	}
	raw, _, err := issuer.Issue(credential.UserID, credential.Generation)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	placement := campaign.Placement{Status: campaign.StatusNone}
	if !credential.OneTime() { // else it is no login yet
		placement = a.backend.Load().Promotions.Place(ctx, credential.UserID)
	}
	return &loginOutput{
		CacheControl: noStore, ContentType: jsonMediaType, Earlybird: placementHeader(placement), Body: tokenBody{Token: raw},
	}, nil
}

// placementHeader is a placement as a structured-field dictionary (RFC 9651).
func placementHeader(p campaign.Placement) string {
	header := "status=" + string(p.Status)
	if p.Status == campaign.StatusPending {
		header += `, place="` + p.Place.String() + `"`
	}
	return header
}
