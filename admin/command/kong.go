package command

import (
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/kong"
)

func kongCommand() *cli.Command {
	return &cli.Command{
		Name:  "kong",
		Usage: "prepare Kong's configuration",
		Subcommands: []*cli.Command{
			leaf("render", "print kong.yml for an identity service and a Redis that live elsewhere",
				"earlybird kong render --identity http://10.0.0.5:8081 --redis redis://10.0.0.6:6379/0 > kong.yml",
				kongRender, kongFlags()...),
			leaf("route", "print what kong.yml needs for a service of your own: every request to it needs a token",
				"earlybird kong route --name shop --upstream http://shop:8080 --path /shop",
				kongRoute, append([]cli.Flag{
					&cli.StringFlag{Name: "name", Usage: "`NAME` of the service and its route in kong.yml, such as shop"},
					&cli.StringFlag{Name: "upstream", Usage: "`URL` at which Kong reaches the service, such as http://shop:8080"},
					&cli.StringFlag{Name: "path", Usage: "`PATH` that its requests begin with, such as /shop; the service sees it too"},
				}, kongFlags()...)...),
			kongValidateCommand(),
		},
	}
}

// kongFlags are the addresses and names of an installation; each command gets
// flags of its own.
func kongFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "identity", Usage: "`URL` at which Kong and the plugins reach the identity service; without it, kong.yml as docker-compose.yml uses it"},
		&cli.StringFlag{Name: "redis", Usage: "`URL` at which the plugins reach Redis, or a reference such as {vault://env/earlybird-redis-url} that keeps the password out of the file (the default)"},
		&cli.StringFlag{Name: "issuer", Usage: "`URL` of identity's --issuer, if it is not the default"},
		&cli.StringFlag{Name: "audience", Usage: "`NAME` of identity's --audience, if it is not the default"},
	}
}

func kongOptions(c *cli.Context) kong.Options {
	return kong.Options{
		IdentityURL: c.String("identity"), RedisURL: c.String("redis"),
		Issuer: c.String("issuer"), Audience: c.String("audience"),
	}
}

func kongValidateCommand() *cli.Command {
	c := leaf("validate", "check what Earlybird needs of a kong.yml",
		"earlybird kong validate kong.yml", kongValidate, outputFlag())
	c.ArgsUsage = "FILE"
	return c
}

func kongRender(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	out, err := kong.Render(kongOptions(c))
	if err != nil {
		return &usageError{err}
	}
	_, err = c.App.Writer.Write(out)
	return err
}

func kongRoute(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	out, err := kong.Block(kongOptions(c), kong.Service{Name: c.String("name"), URL: c.String("upstream"), Path: c.String("path")})
	if err != nil {
		return &usageError{err}
	}
	if _, err := c.App.Writer.Write(out); err != nil {
		return err
	}
	say(c.App.ErrWriter, "Append this to the list services of kong.yml, and run: earlybird kong validate kong.yml\n")
	return nil
}

// kongValidate lists every fault of a file. A faulty file is a usage error,
// like a faulty flag: exit status 2.
func kongValidate(c *cli.Context) error {
	if c.NArg() != 1 {
		return withHint(usage("one FILE is needed"), "earlybird kong validate kong.yml")
	}
	f, err := format(c)
	if err != nil {
		return err
	}
	name := c.Args().First()
	data, err := os.ReadFile(name) //nolint:gosec // G304: whoever types names the file
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	err = kong.Validate(name, data)
	var faults kong.Faults
	if err != nil && !errors.As(err, &faults) {
		return usage("%s: %w", name, err)
	}
	if f != output.Table || len(faults) > 0 {
		if err := writeFaults(c, f, faults); err != nil {
			return err
		}
	}
	if len(faults) > 0 {
		return withHint(usage("%s is not what Earlybird needs (faults: %d)", name, len(faults)), "correct them and run this again; %s", kong.Unchecked)
	}
	say(c.App.ErrWriter, "%s has what Earlybird needs; %s.\n", name, kong.Unchecked)
	return nil
}

func writeFaults(c *cli.Context, f output.Format, faults kong.Faults) error {
	list := output.List(c.App.Writer, f, output.Column{Name: "line"}, output.Column{Name: "field"}, output.Column{Name: "problem", Long: true})
	for _, fault := range faults {
		if err := list.Row(int64(fault.Line), fault.Field, fault.Problem); err != nil {
			return err
		}
	}
	return list.Close()
}
