package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/revocation"
)

func userCommand() *cli.Command {
	return &cli.Command{
		Name:  "user",
		Usage: "look at accounts, close them and end their sessions",
		Subcommands: []*cli.Command{
			person("show", "show an account", userShow, readFlags()),
			person("disable", "keep somebody from logging in, and end every session", userDisable, changeFlags()),
			person("enable", "let somebody log in again", userEnable, changeFlags()),
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
		Revoker: revocation.NewWriter(revocation.WriterConfig{Store: s.mongo, Redis: s.redis}),
		By:      s.by,
	})
}

func userShow(c *cli.Context) error {
	return withUser(c, "", func(ctx context.Context, a *account.Admin, name string) (account.Account, error) {
		return a.Show(ctx, name)
	})
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
	return errors.Join(err, showUser(c, f, found))
}

// userColumns are what `user show` shows.
var userColumns = columns("id username canonical created_at disabled generation")

func showUser(c *cli.Context, f output.Format, a account.Account) error {
	return output.One(c.App.Writer, f, userColumns, a.ID, a.Username, a.Canonical, a.CreatedAt, a.Disabled, a.Generation)
}
