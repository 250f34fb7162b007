package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/limit"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/password"
	"github.com/earlybird/earlybird/identity/revocation"
)

func userCommand() *cli.Command {
	return &cli.Command{
		Name:  "user",
		Usage: "look at accounts, close them, reset passwords and end sessions",
		Subcommands: []*cli.Command{
			person("user show", "show an account and how it stands in the campaign", userShow, readFlags()),
			leaf("list", "list the accounts, by name", "earlybird user list --prefix al --output csv", userList, readFlags(
				&cli.StringFlag{Name: "prefix", Usage: "`BEGINNING` of the usernames"},
				&cli.BoolFlag{Name: "disabled", Usage: "the disabled ones alone"},
			)...),
			person("user disable", "close an account: no login, and every session ends", userDisable, changeFlags()),
			person("user enable", "open a closed account again", userEnable, changeFlags()),
			person("user reset-password", "replace a forgotten password with a one-time password, good for choosing another one within 24 hours", userReset, changeFlags()),
			person("user revoke", "end every session of a user, who may log in again", userRevoke, changeFlags()),
			person("user export", "write all that is stored of a user, but for the password's hash", userExport, append([]cli.Flag{
				&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: string(output.JSON), Usage: "`FORMAT` of the export: json"},
			}, storeFlags()...)),
			person("user delete", "delete an account for good, with its addresses in the login audit; a grant stays under the user's id", userDelete, changeFlags()),
		},
	}
}

// person is a command about one user; path is what is typed before the name.
func person(path, what string, run func(c *cli.Context) error, flags []cli.Flag) *cli.Command {
	_, name, _ := strings.Cut(path, " ")
	example := "earlybird " + path + " alice"
	switch name {
	case "disqualify":
		example += ` --reason "bought by a bot"`
	case "reinstate":
		example += ` --reason "it was a person"`
	}
	l := leaf(name, what, example, run, flags...)
	l.ArgsUsage = "USERNAME"
	return l
}

// username is the one argument.
func username(c *cli.Context) (string, error) {
	switch c.Args().Len() {
	case 0:
		return "", withHint(usage("a username is needed"), "for example: %s alice", c.Command.HelpName)
	case 1:
		return c.Args().First(), nil
	default:
		return "", usage("%q: one username at a time", c.Args().Get(1))
	}
}

// accounts returns the accounts' administration on these stores.
func (s *stores) accounts() (*account.Admin, error) {
	return account.NewAdmin(account.AdminConfig{
		Store:   s.mongo,
		Hasher:  lateHasher{},
		Revoker: revocation.NewWriter(revocation.WriterConfig{Store: s.mongo, Redis: s.redis}),
	})
}

// lateHasher is a password.Hasher that is made when it is needed, with the
// default parameters: a login hashes anew when identity has others.
type lateHasher struct{}

func (lateHasher) Hash(ctx context.Context, text string) (string, error) {
	h, err := password.NewHasher(password.Config{})
	if err != nil {
		return "", err
	}
	return h.Hash(ctx, text)
}

// userColumns are what is shown of an account.
var userColumns = columns("id username canonical created_at disabled generation one_time_until customer")

func userRow(a account.Account) []any {
	return []any{a.ID, a.Username, a.Canonical, a.CreatedAt, a.Disabled, a.Generation, a.OneTimeUntil, a.Customer}
}

// withUser finds the account of the user that was named.
func withUser(c *cli.Context, do func(s *stores, admin *account.Admin, f output.Format, found account.Account) error) error {
	return findUser(c, (*account.Admin).Show, do)
}

// findUser finds what find returns for the username that was given.
func findUser[T any](c *cli.Context, find func(*account.Admin, context.Context, string) (T, error), do func(*stores, *account.Admin, output.Format, T) error) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	name, err := username(c)
	if err != nil {
		return err
	}
	s, err := open(c)
	if err != nil {
		return err
	}
	defer s.close(c.Context)
	admin, err := s.accounts()
	if err != nil {
		return err
	}
	found, err := find(admin, c.Context, name)
	if err != nil {
		return noUser(name, err)
	}
	return do(s, admin, f, found)
}

// noUser says of an error whether there is no such user.
func noUser(name string, err error) error {
	if errors.Is(err, account.ErrNotFound) {
		return withHint(fmt.Errorf("there is no user %q", name), "usernames are taken as at a login: case does not matter, spelling does")
	}
	return err
}

// changeUser says what will be done to an account, asks, does it on record, and
// shows the account then; more are values of the result beside it.
func changeUser(c *cli.Context, name, what string, more []output.Column, do func(context.Context, *account.Admin, string) (account.Account, []any, error)) error {
	return withUser(c, func(s *stores, admin *account.Admin, f output.Format, found account.Account) error {
		if err := confirm(c, what, found.Username); err != nil {
			return err
		}
		var after account.Account
		var values []any
		err := recorded(c, s, mongostore.Action{Name: "user " + name, UserID: found.ID}, func(ctx context.Context, a *mongostore.Action) error {
			var err error
			after, values, err = do(ctx, admin, found.Username)
			if errors.Is(err, account.ErrNotAnnounced) {
				a.Result = mongostore.ResultPending
			}
			return err
		})
		if after.ID == "" {
			return err
		}
		return errors.Join(err, output.One(c.App.Writer, f, append(slices.Clone(userColumns), more...), append(userRow(after), values...)...))
	})
}

// plainly adapts what only returns the account.
func plainly(do func(a *account.Admin, ctx context.Context, username string) (account.Account, error)) func(context.Context, *account.Admin, string) (account.Account, []any, error) {
	return func(ctx context.Context, a *account.Admin, name string) (account.Account, []any, error) {
		found, err := do(a, ctx, name)
		return found, nil, err
	}
}

// userReset prints the one-time password once, and nothing keeps it.
func userReset(c *cli.Context) error {
	err := changeUser(c, "reset-password", "This ends every session of %q and replaces the password with a one-time password, for choosing another one within 24 hours.",
		columns("one_time_password"), func(ctx context.Context, a *account.Admin, name string) (account.Account, []any, error) {
			found, oneTime, err := a.ResetPassword(ctx, name)
			return found, []any{oneTime}, err
		})
	if err == nil {
		say(c.App.ErrWriter, "The user logs in with the one-time password (POST /login) and sends the token, with it as \"current\",\nto PUT /users/{id}/password; it opens nothing else.\n")
	}
	return err
}

func userDisable(c *cli.Context) error {
	return changeUser(c, "disable", "This disables the account of %q: no login, and every session ends now.", nil, plainly((*account.Admin).Disable))
}

func userEnable(c *cli.Context) error {
	return changeUser(c, "enable", "This enables the account of %q: logins work again, earlier sessions stay ended.", nil, plainly((*account.Admin).Enable))
}

func userRevoke(c *cli.Context) error {
	return changeUser(c, "revoke", "This ends every session of %q now; a new login works.", nil, plainly((*account.Admin).Revoke))
}

// shownAttempts is how many login attempts `user show` prints.
const shownAttempts = 10

// attemptJSON and limitJSON are how `user show --output json` has them.
type attemptJSON struct {
	At        time.Time `json:"at"`
	Outcome   string    `json:"outcome"`
	Address   string    `json:"address"`
	RequestID string    `json:"request_id"`
}

type limitJSON struct {
	Limit   string  `json:"limit"`
	Address string  `json:"address"`
	Known   bool    `json:"known"`
	Left    int64   `json:"left"`
	Burst   int64   `json:"burst"`
	Wait    float64 `json:"wait_seconds"`
}

// standingColumns are how a user stands in the campaign in force, as GET /promotion
// tells it.
var standingColumns = columns("campaign standing rank position")

// standingRow is empty where the log cannot be read, which it says.
func (s *stores) standingRow(c *cli.Context, userID string) []any {
	log, err := s.campaigns().Read(c.Context)
	if err != nil {
		say(c.App.ErrWriter, "how the user stands in the campaign is not certain: %s\n", brief(err))
	}
	if log == nil {
		return []any{nil, nil, nil, nil}
	}
	standing, position := log.Standing(userID)
	row := []any{nil, standing, nil, nil}
	if log.InForce() != nil {
		row[0] = campaignID(log.InForce())
		noteRehearsal(c, log.InForce())
	}
	if standing == string(campaign.StatusGranted) {
		row[2] = position
	}
	if position > 0 {
		row[3] = position
	}
	return row
}

var attemptColumns = columns("at outcome address request_id")

// userShow shows an account, how it stands in the campaign, why it is limited, and
// the latest login attempts.
func userShow(c *cli.Context) error {
	return withUser(c, func(s *stores, admin *account.Admin, f output.Format, found account.Account) error {
		columns := slices.Concat(userColumns, standingColumns)
		row := slices.Concat(userRow(found), s.standingRow(c, found.ID))
		if f == output.CSV { // rows of one kind
			return output.One(c.App.Writer, f, columns, row...)
		}
		attempts, err := admin.Attempts(c.Context, found.ID, shownAttempts)
		if err != nil {
			return err
		}
		var addresses []string
		for _, at := range attempts {
			if !slices.Contains(addresses, at.IP) {
				addresses = append(addresses, at.IP)
			}
		}
		limits, err := limit.Inspect(c.Context, s.redis, found.Canonical, addresses)
		if err != nil {
			say(c.App.ErrWriter, "limits are not known: %s\n", brief(err))
		}
		if f == output.JSON {
			return showUserJSON(c, columns, row, limits, err == nil, attempts)
		}
		if err := output.One(c.App.Writer, f, columns, row...); err != nil {
			return err
		}
		for _, l := range limits {
			say(c.App.Writer, "%s\n", limitLine(l))
		}
		say(c.App.Writer, "latest login attempts:\n")
		list := output.List(c.App.Writer, f, attemptColumns...)
		for _, at := range attempts {
			if err := list.Row(at.At, string(at.Outcome), at.IP, at.RequestID); err != nil {
				return err
			}
		}
		return list.Close()
	})
}

func attemptsJSON(attempts []account.Attempt) []attemptJSON {
	all := make([]attemptJSON, len(attempts))
	for i, a := range attempts {
		all[i] = attemptJSON{a.At, string(a.Outcome), a.IP, a.RequestID}
	}
	return all
}

func showUserJSON(c *cli.Context, shown []output.Column, row []any, limits []limit.State, known bool, attempts []account.Attempt) error {
	var limited any // null: not known
	if known {
		all := make([]limitJSON, len(limits))
		for i, l := range limits {
			all[i] = limitJSON{string(l.Limit), l.Address, l.Known, int64(l.Left), int64(l.Burst), l.Wait.Seconds()}
		}
		limited = all
	}
	return output.One(c.App.Writer, output.JSON, append(shown, columns("limits attempts")...), append(row, limited, attemptsJSON(attempts))...)
}

// limitLine says how an account stands with a limit.
func limitLine(l limit.State) string {
	what := map[limit.Kind]string{
		limit.ByAccount: "failures at this account", limit.ByBoth: "failures at this account from " + l.Address,
		limit.ByAddress: "requests from " + l.Address,
	}[l.Limit]
	if l.Known && l.Limit == limit.ByBoth {
		what += " (known: the limit by account does not apply)"
	}
	if l.Wait > 0 {
		return fmt.Sprintf("limited: too many %s, next attempt in %s", what, l.Wait.Round(time.Second))
	}
	return fmt.Sprintf("not limited: %s, %d of %d left", what, l.Left, l.Burst)
}
