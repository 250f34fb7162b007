package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/keyring"
	"github.com/earlybird/earlybird/identity/mongostore"
)

func keyCommand() *cli.Command {
	return &cli.Command{
		Name:  "key",
		Usage: "list the keys that sign tokens, rotate them, and change the secret that seals them",
		Subcommands: []*cli.Command{
			leaf("list", "list the signing keys", "earlybird key list", keyList, readFlags()...),
			leaf("rotate", "make the next signing key; it signs ten minutes later", "earlybird key rotate --key-secret-file secret", keyRotate,
				changeFlags(&cli.StringFlag{Name: "key-secret-file", Usage: "`FILE` with the secret that seals signing keys (required)", EnvVars: []string{"EARLYBIRD_KEY_SECRET_FILE"}})...),
			resealCommand(),
		},
	}
}

func resealCommand() *cli.Command {
	l := leaf("reseal", "seal every signing key with another secret", "earlybird key reseal --old-secret-file old --new-secret-file new", keyReseal,
		changeFlags(
			&cli.StringFlag{Name: "old-secret-file", Usage: "`FILE` with the secret from before (required)"},
			&cli.StringFlag{Name: "new-secret-file", Usage: "`FILE` with the secret from now on (required)"},
		)...)
	l.Description += `

To change the secret without a pause:

   1. restart each identity service with --key-secret-file NEW --key-old-secret-file OLD
   2. earlybird key reseal --old-secret-file OLD --new-secret-file NEW
   3. restart each with --key-secret-file NEW alone, and destroy OLD

Nothing is changed unless every key opens with one of the two. If it is
interrupted, run it again.`
	return l
}

var keyColumns = columns("number key_id status created_at signs_at retires_at")

func keyList(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	return withStores(c, func(s *stores) error {
		keys, err := keyring.List(c.Context, s.mongo, time.Now())
		if err != nil {
			return err
		}
		list := output.List(c.App.Writer, f, keyColumns...)
		for _, k := range keys {
			if err := list.Row(k.ID, k.KeyID, string(k.Status), k.CreatedAt, k.SignsAt, k.Retires); err != nil {
				return err
			}
		}
		return list.Close()
	})
}

func keyRotate(c *cli.Context) error {
	const what = "This makes the next signing key. It is published now and signs in ten minutes; tokens of the present key stay good."
	return changeKeys(c, "key rotate", what, []string{"key-secret-file"}, func(ctx context.Context, s *stores, secrets [][keyring.SecretSize]byte) (keyChange, error) {
		if keys, err := s.mongo.Keys(ctx); err != nil {
			return keyChange{}, err
		} else if len(keys) == 0 {
			return keyChange{}, errors.New("there is no key yet: the identity service makes the first one when it starts")
		}
		ring, err := keyring.Open(ctx, keyring.Config{
			Store: s.mongo, Secret: secrets[0], Now: time.Now, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return keyChange{}, err
		}
		next, err := ring.Rotate(ctx)
		if errors.Is(err, keyring.ErrKeyExists) {
			return keyChange{}, withHint(err, "another admin has just rotated; see: earlybird key list")
		}
		if err != nil {
			return keyChange{}, err
		}
		return keyChange{
			fmt.Sprintf("key %s signs from %s", next.KeyID(), next.SignsAt.Format(time.RFC3339)),
			columns("key_id signs_at"),
			[]any{next.KeyID(), next.SignsAt},
		}, nil
	})
}

func keyReseal(c *cli.Context) error {
	const what = "This seals every signing key with the new secret. Every identity service must know both secrets by now (--key-old-secret-file)."
	return changeKeys(c, "key reseal", what, []string{"old-secret-file", "new-secret-file"}, func(ctx context.Context, s *stores, secrets [][keyring.SecretSize]byte) (keyChange, error) {
		n, err := keyring.Reseal(ctx, s.mongo, secrets[0], secrets[1], time.Now())
		return keyChange{count(int64(n), "key") + " sealed with the new secret", columns("resealed"), []any{int64(n)}}, err
	})
}

// keyChange is what was done to the keys, as a sentence and as a row.
type keyChange struct {
	said    string
	columns []output.Column
	row     []any
}

// changeKeys does something to the signing keys, with the secrets of these
// flags, on record.
func changeKeys(c *cli.Context, name, what string, flags []string, do func(context.Context, *stores, [][keyring.SecretSize]byte) (keyChange, error)) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	if err := noArguments(c); err != nil {
		return err
	}
	if err := required(c, flags...); err != nil {
		return err
	}
	secrets := make([][keyring.SecretSize]byte, len(flags))
	for i, flag := range flags {
		if secrets[i], err = keyring.LoadSecret(c.String(flag)); err != nil {
			return &usageError{err}
		}
	}
	return withStores(c, func(s *stores) error {
		if err := confirm(c, "%s", what); err != nil {
			return err
		}
		var done keyChange
		err := recorded(c, s, mongostore.Action{Name: name}, func(ctx context.Context, a *mongostore.Action) error {
			var err error
			if done, err = do(ctx, s, secrets); err == nil {
				a.Detail = done.said
			}
			return err
		})
		if err != nil {
			return err
		}
		if f == output.Table {
			say(c.App.Writer, "%s\n", done.said)
			return nil
		}
		return output.One(c.App.Writer, f, done.columns, done.row...)
	})
}
