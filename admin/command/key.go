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
	return changeKeys(c, "key rotate", what, []string{"key-secret-file"}, func(ctx context.Context, s *stores, secrets [][keyring.SecretSize]byte) (string, error) {
		if keys, err := s.mongo.Keys(ctx); err != nil {
			return "", err
		} else if len(keys) == 0 {
			return "", errors.New("there is no key yet: the identity service makes the first one when it starts")
		}
		ring, err := keyring.Open(ctx, keyring.Config{
			Store: s.mongo, Secret: secrets[0], Now: time.Now, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return "", err
		}
		next, err := ring.Rotate(ctx)
		if errors.Is(err, keyring.ErrKeyExists) {
			return "", withHint(err, "somebody has just rotated; see: earlybird key list")
		}
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("key %s signs from %s", next.KeyID(), next.SignsAt.Format(time.RFC3339)), nil
	})
}

func keyReseal(c *cli.Context) error {
	const what = "This seals every signing key with the new secret. Every identity service must know both secrets by now (--key-old-secret-file)."
	return changeKeys(c, "key reseal", what, []string{"old-secret-file", "new-secret-file"}, func(ctx context.Context, s *stores, secrets [][keyring.SecretSize]byte) (string, error) {
		n, err := keyring.Reseal(ctx, s.mongo, secrets[0], secrets[1], time.Now())
		return fmt.Sprintf("%d keys sealed with the new secret", n), err
	})
}

// changeKeys does something to the signing keys, with the secrets of these
// flags, on record.
func changeKeys(c *cli.Context, name, what string, flags []string, do func(context.Context, *stores, [][keyring.SecretSize]byte) (string, error)) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if err := required(c, flags...); err != nil {
		return err
	}
	secrets := make([][keyring.SecretSize]byte, len(flags))
	for i, flag := range flags {
		var err error
		if secrets[i], err = keyring.LoadSecret(c.String(flag)); err != nil {
			return &usageError{err}
		}
	}
	if err := confirm(c, "%s", what); err != nil {
		return err
	}
	s, err := open(c)
	if err != nil {
		return err
	}
	defer s.close(c.Context)
	said := ""
	err = recorded(c, s, name, "", func(ctx context.Context) (string, error) {
		var err error
		said, err = do(ctx, s, secrets)
		return said, err
	})
	if err != nil {
		return err
	}
	say(c.App.Writer, "%s\n", said)
	return nil
}
