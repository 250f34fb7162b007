package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/limit"
	"github.com/earlybird/earlybird/identity/password"
	"github.com/earlybird/earlybird/identity/revocation"
)

func userCommand() *cli.Command {
	return &cli.Command{
		Name:  "user",
		Usage: "look at accounts, close them, reset passwords and end sessions",
		Subcommands: []*cli.Command{
			person("show", "show an account", userShow, readFlags()),
			person("disable", "keep somebody from logging in, and end every session", userDisable, changeFlags()),
			person("enable", "let somebody log in again", userEnable, changeFlags()),
			person("reset-password", "replace a forgotten password with a one-time password, good for choosing another one within 24 hours", userReset, changeFlags()),
			person("revoke", "end every session of somebody, who may log in again", userRevoke, changeFlags()),
		},
	}
}

// person is a command about one user.
func person(name, what string, run func(c *cli.Context) error, flags []cli.Flag) *cli.Command {
	l := leaf(name, what, "earlybird user "+name+" alice", run, flags...)
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
		By:      s.by,
	})
}

func userShow(c *cli.Context) error {
	return withUser(c, "", func(ctx context.Context, a *account.Admin, name string) (account.Account, error) {
		return a.Show(ctx, name)
	})
}

// userReset prints the one-time password once, and nothing keeps it.
func userReset(c *cli.Context) error {
	oneTime := ""
	err := withUser(c, "This ends every session of %q and replaces the password with a one-time password, for choosing another one within 24 hours.",
		func(ctx context.Context, a *account.Admin, name string) (account.Account, error) {
			var found account.Account
			var err error
			found, oneTime, err = a.ResetPassword(ctx, name)
			return found, err
		})
	if oneTime != "" {
		say(c.App.ErrWriter, "one-time password: %s\n"+
			"The user logs in with it (POST /login) and sends the token, with it as \"current\", to PUT /users/{id}/password; it opens nothing else.\n", oneTime)
	}
	return err
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

func userDisable(c *cli.Context) error {
	return withUser(c, "This disables the account of %q: no login, and every session ends now.",
		func(ctx context.Context, a *account.Admin, name string) (account.Account, error) {
			return a.Disable(ctx, name)
		})
}

func userEnable(c *cli.Context) error {
	return withUser(c, "This enables the account of %q: logins work again, earlier sessions stay ended.",
		func(ctx context.Context, a *account.Admin, name string) (account.Account, error) {
			return a.Enable(ctx, name)
		})
}

func userRevoke(c *cli.Context) error {
	return withUser(c, "This ends every session of %q now; a new login works.",
		func(ctx context.Context, a *account.Admin, name string) (account.Account, error) {
			return a.Revoke(ctx, name)
		})
}

// withUser does something about the user that was named and shows the account
// then. If it changes something, what says so of the username, and it asks.
func withUser(c *cli.Context, what string, do func(context.Context, *account.Admin, string) (account.Account, error)) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	name, err := username(c)
	if err != nil {
		return err
	}
	if what != "" {
		if err := confirm(c, what, name); err != nil {
			return err
		}
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
	found, err := do(c.Context, admin, name)
	if errors.Is(err, account.ErrNotFound) {
		return withHint(fmt.Errorf("there is no user %q", name), "usernames are taken as at a login: case does not matter, spelling does")
	}
	if err != nil && !errors.Is(err, account.ErrNotAnnounced) {
		return err
	}
	if what != "" {
		return errors.Join(err, showUser(c, f, found))
	}
	return errors.Join(showUser(c, f, found), s.showActivity(c, f, admin, found))
}

// shownAttempts is how many login attempts `user show` prints.
const shownAttempts = 10

// showActivity prints why somebody is limited and the latest login attempts:
// for people, and so not where a program reads the account.
func (s *stores) showActivity(c *cli.Context, f output.Format, admin *account.Admin, a account.Account) error {
	if f != output.Table {
		return nil
	}
	if !a.OneTimeUntil.IsZero() {
		say(c.App.Writer, "the password is a one-time password, good until %s\n", a.OneTimeUntil.Format(time.RFC3339))
	}
	attempts, err := admin.Attempts(c.Context, a.ID, shownAttempts)
	if err != nil {
		return err
	}
	var addresses []string
	for _, at := range attempts {
		if !slices.Contains(addresses, at.IP) {
			addresses = append(addresses, at.IP)
		}
	}
	limits, err := limit.Inspect(c.Context, s.redis, a.Canonical, addresses)
	if err != nil {
		say(c.App.ErrWriter, "limits are not known: %v\n", err)
	}
	for _, l := range limits {
		say(c.App.Writer, "%s\n", limitLine(l))
	}
	say(c.App.Writer, "latest login attempts:\n")
	list := output.List(c.App.Writer, f, columns("at outcome address request_id")...)
	for _, at := range attempts {
		if err := list.Row(at.At, string(at.Outcome), at.IP, at.RequestID); err != nil {
			return err
		}
	}
	return list.Close()
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

// userColumns are what `user show` shows.
var userColumns = columns("id username canonical created_at disabled generation")

func showUser(c *cli.Context, f output.Format, a account.Account) error {
	return output.One(c.App.Writer, f, userColumns, a.ID, a.Username, a.Canonical, a.CreatedAt, a.Disabled, a.Generation)
}
