package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/enrolment"
	"github.com/earlybird/earlybird/identity/limit"
	"github.com/earlybird/earlybird/identity/mongostore"
)

// userList lists accounts as they are read, any number of them.
func userList(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	prefix, err := account.CanonicalPrefix(c.String("prefix"))
	if err != nil {
		return usage("--%s", err)
	}
	return withStores(c, func(s *stores) error {
		admin, err := s.accounts()
		if err != nil {
			return err
		}
		list := output.List(c.App.Writer, f, userColumns...)
		rows := 0
		for a, err := range admin.List(c.Context, prefix, c.Bool("disabled")) {
			if err != nil {
				return incomplete(rows, err)
			}
			if err := list.Row(userRow(a)...); err != nil {
				return err
			}
			rows++
		}
		return list.Close()
	})
}

// userDelete deletes an account after two questions. What was begun and cut off is
// finished by the same command.
func userDelete(c *cli.Context) error {
	return findUser(c, (*account.Admin).Deleting, func(s *stores, admin *account.Admin, f output.Format, found account.User) error {
		what := fmt.Sprintf("This deletes the account of %q for good: the name, the password, and the addresses in the login audit. Every session ends now, and the name becomes free.", found.Username)
		if log, err := s.campaigns().Read(c.Context); err == nil && log.InForce() != nil && log.InForce().Position(found.ID) > 0 {
			what += fmt.Sprintf("\nThe place %d in campaign %s stays taken, under the id %s alone; \"earlybird campaign disqualify\" passes a grant on.",
				log.InForce().Position(found.ID), campaignID(log.InForce()), found.ID)
		}
		if err := confirm(c, "%s", what); err != nil {
			return err
		}
		if err := confirmName(c, found.Username); err != nil {
			return err
		}
		var forgotten int64
		err := recorded(c, s, mongostore.Action{Name: "user delete", UserID: found.ID}, func(ctx context.Context, a *mongostore.Action) error {
			var err error
			forgotten, err = admin.Delete(ctx, found)
			if errors.Is(err, account.ErrNotAnnounced) {
				a.Result = mongostore.ResultPending
			}
			return err
		})
		if err != nil && !errors.Is(err, account.ErrNotAnnounced) && !errors.Is(err, errInterrupted) {
			return noUser(found.Username, err)
		}
		if limitErr := limit.Forget(context.WithoutCancel(c.Context), s.redis, found.Canonical); limitErr != nil {
			say(c.App.ErrWriter, "the name's limits stay in Redis, as hashes, for 30 days at most: %s\n", brief(limitErr))
		}
		return errors.Join(err, output.One(c.App.Writer, f, columns("id username addresses_removed"), found.ID, found.Username, forgotten))
	})
}

// exportJSON is all that is stored of one user.
type exportJSON struct {
	Account     map[string]any   `json:"account"`
	Enrolment   *enrolmentJSON   `json:"enrolment"` // null: the account was registered without a code
	Places      []placeJSON      `json:"places"`
	Attempts    []attemptJSON    `json:"login_attempts"`
	Actions     []actionJSON     `json:"actions"`
	Revocations []revocationJSON `json:"revocations"`
}

// enrolmentJSON is what is kept of a customer of the bank, but for the hashes of
// codes.
type enrolmentJSON struct {
	Customer string     `json:"customer"`
	Since    time.Time  `json:"since"`
	Codes    []codeJSON `json:"codes"`
}

type codeJSON struct {
	Number  int64      `json:"number"`
	At      time.Time  `json:"at"`
	By      string     `json:"by"`
	Expires *time.Time `json:"expires"` // null: the code before was revoked
}

type placeJSON struct {
	Campaign     string            `json:"campaign"`
	Name         string            `json:"name"`
	Position     int64             `json:"position"`
	Since        time.Time         `json:"since"`
	Rank         *int64            `json:"rank"` // null: no grant
	GrantedAt    *time.Time        `json:"granted_at"`
	Disqualified *disqualifiedJSON `json:"disqualified"`
}

type disqualifiedJSON struct {
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
}

type actionJSON struct {
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Action   string    `json:"action"`
	Result   string    `json:"result"`
	Campaign string    `json:"campaign"`
	Entry    string    `json:"entry"`
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail"`
}

type revocationJSON struct {
	Generation int64     `json:"generation"`
	At         time.Time `json:"at"`
	Until      time.Time `json:"until"`
}

// userExport writes all that is stored of a user, as one JSON object.
func userExport(c *cli.Context) error {
	if c.String("output") != string(output.JSON) {
		return usage("--output: %q is not a format of a user's export; it is written as json", c.String("output"))
	}
	return withUser(c, func(s *stores, admin *account.Admin, _ output.Format, found account.Account) error {
		out := exportJSON{Account: map[string]any{}, Places: []placeJSON{}, Actions: []actionJSON{}, Revocations: []revocationJSON{}}
		for i, value := range userRow(found) {
			if at, isTime := value.(time.Time); isTime && at.IsZero() {
				value = nil
			}
			out.Account[userColumns[i].Name] = value
		}
		attempts, err := admin.Attempts(c.Context, found.ID, 0)
		if err != nil {
			return err
		}
		out.Attempts = attemptsJSON(attempts)
		for a, err := range s.mongo.Actions(c.Context, mongostore.ActionFilter{UserID: found.ID, Customer: found.Customer}) {
			if err != nil {
				return err
			}
			out.Actions = append(out.Actions, actionJSON{a.At, a.By, a.Name, a.Result, campaignOf(a), a.Entry, a.Reason, a.Detail})
		}
		for r, err := range s.mongo.RevocationsOf(c.Context, found.ID) {
			if err != nil {
				return err
			}
			out.Revocations = append(out.Revocations, revocationJSON{r.Generation, r.At, r.Until})
		}
		if found.Customer != "" {
			if out.Enrolment, err = s.enrolmentOf(c.Context, found.Customer); err != nil {
				return err
			}
		}
		if out.Places, err = s.placesOf(c.Context, found.ID); err != nil {
			return err // half of what is stored would look like all of it
		}
		encoder := json.NewEncoder(c.App.Writer)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(out)
	})
}

// enrolmentOf is what is kept of a customer who has an account.
func (s *stores) enrolmentOf(ctx context.Context, customer string) (*enrolmentJSON, error) {
	claim, err := s.mongo.Claim(ctx, customer)
	if err != nil {
		return nil, err
	}
	out := &enrolmentJSON{Customer: customer, Since: claim.At, Codes: []codeJSON{}}
	for number := int64(1); ; number++ {
		issue, err := s.mongo.Issue(ctx, customer, number)
		if errors.Is(err, enrolment.ErrNotFound) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		code := codeJSON{Number: number, At: issue.At, By: issue.By}
		if issue.Hash != "" {
			code.Expires = &issue.Expires
		}
		out.Codes = append(out.Codes, code)
	}
}

// placesOf are the user's places in every campaign there was.
func (s *stores) placesOf(ctx context.Context, userID string) ([]placeJSON, error) {
	why, err := s.reasons(ctx, mongostore.ActionFilter{UserID: userID})
	if err != nil {
		return nil, err
	}
	all := []placeJSON{}
	for fold, err := range s.folds(ctx) {
		if err != nil {
			return nil, err
		}
		position := fold.Position(userID)
		if position == 0 {
			continue
		}
		place := placeJSON{Campaign: campaignID(fold), Name: fold.Settings().Name, Position: position, Since: fold.Arrived(position).UTC()}
		if g, granted := fold.Grant(position); granted {
			place.Rank, place.GrantedAt = &g.Rank, &g.GrantedAt
		}
		for _, e := range fold.Voids() {
			if e.User == userID {
				place.Disqualified = &disqualifiedJSON{e.At, e.By, why.of(e)}
			}
		}
		all = append(all, place)
	}
	return all, nil
}
