package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earlybird/earlybird/identity/account"
)

// doneOutput is an answer without a body.
type doneOutput struct {
	CacheControl string `header:"Cache-Control" doc:"no-store"`
}

func (a *API) addLogout() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "logout", Method: http.MethodPost, Path: "/logout",
		Summary: "Log out",
		Description: "Ends the token it is sent with, everywhere within a second; other tokens of the user live on. " +
			"On 503 with the type tag:earlybird.example,2026:pending the token is ended but a gateway may still accept it: try again.",
		Tags: []string{"accounts"}, Security: bearerSecurity, DefaultStatus: http.StatusNoContent,
		Responses:   a.answers(tokenStatuses, http.StatusServiceUnavailable),
		Middlewares: huma.Middlewares{a.opened, a.authenticateAgain},
	}, a.logout)
}

func (a *API) logout(ctx context.Context, _ *struct{}) (*doneOutput, error) {
	token := caller(ctx)
	if err := a.backend.Load().Revocations.RevokeToken(ctx, token.ID, token.Expires); err != nil {
		return nil, a.fail(ctx, err)
	}
	return &doneOutput{CacheControl: noStore}, nil
}

// passwordChange is the body of PUT /users/{id}/password.
type passwordChange struct {
	Current string `json:"current" minLength:"1" maxLength:"512" format:"password" doc:"the present password, 1 to 512 characters" example:"correct horse battery staple"`
	New     string `json:"new" minLength:"1" maxLength:"512" format:"password" doc:"8 to 128 characters, spaces included, not the present password" example:"a different horse battery staple"`
}

type passwordInput struct {
	ID   string `path:"id" doc:"The user's id, as POST /users returned it, or me: the token's own user." example:"4VHUZ2TTRRNHZZWQCMWOKUQBCD"`
	Body passwordChange
}

func (a *API) addPassword() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "change-password", Method: http.MethodPut, Path: "/users/{id}/password",
		Summary: "Change your password",
		Description: "Ends every token of the user, the one it is sent with too: log in again. " +
			"On 503 with the type tag:earlybird.example,2026:pending the password is changed but a gateway may still accept an earlier token for a while.",
		Tags: []string{"accounts"}, Security: bearerSecurity, DefaultStatus: http.StatusNoContent,
		Responses: a.answers(bodyStatuses, http.StatusUnauthorized, http.StatusNotFound,
			http.StatusServiceUnavailable),
		SkipValidateBody: true, MaxBodyBytes: MaxBody + 1, BodyReadTimeout: -1,
		Middlewares: huma.Middlewares{a.opened, a.authenticatePassword, a.admitBody},
	}, a.changePassword)
}

// changePassword decides by the token alone whose password may be changed, as
// user does.
func (a *API) changePassword(ctx context.Context, in *passwordInput) (*doneOutput, error) {
	id, err := ownID(ctx, in.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	err = a.backend.Load().Accounts.ChangePassword(ctx, account.ChangeRequest{
		UserID: id, Current: in.Body.Current, New: in.Body.New,
		IP: clientAddress(ctx), RequestID: RequestID(ctx),
	})
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &doneOutput{CacheControl: noStore}, nil
}
