package command

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/kong"
	"github.com/earlybird/earlybird/plugin/settings"
)

func kongCommand() *cli.Command {
	return &cli.Command{
		Name:  "kong",
		Usage: "prepare Kong's configuration",
		Subcommands: []*cli.Command{
			leaf("render", "print kong.yml for an identity service and a Redis that live elsewhere",
				"earlybird kong render --identity http://10.0.0.5:8081 --redis redis://10.0.0.6:6379/0 > kong.yml",
				kongRender,
				&cli.StringFlag{Name: "identity", Usage: "`URL` at which Kong and the plugins reach the identity service; without it, kong.yml as docker-compose.yml uses it"},
				&cli.StringFlag{Name: "redis", Usage: "`URL` at which the plugins reach Redis, or a reference such as {vault://env/earlybird-redis-url} that keeps the password out of the file (the default)"},
				&cli.StringFlag{Name: "issuer", Usage: "`URL` that identity's --issuer says, if it is another"},
				&cli.StringFlag{Name: "audience", Usage: "`NAME` that identity's --audience says, if it is another"},
			),
			kongValidateCommand(),
		},
	}
}

func kongValidateCommand() *cli.Command {
	c := leaf("validate", "say what is wrong with a kong.yml before Kong does",
		"earlybird kong validate kong.yml", kongValidate, outputFlag())
	c.ArgsUsage = "FILE"
	return c
}

func kongRender(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	out, err := kong.Render(kong.Options{
		IdentityURL: c.String("identity"), RedisURL: c.String("redis"),
		Issuer: c.String("issuer"), Audience: c.String("audience"),
	})
	if err != nil {
		return &usageError{err}
	}
	_, err = c.App.Writer.Write(out)
	return err
}

// kongValidate lists every fault of a file. A file with faults is the fault of
// whoever wrote it: exit status 2, as for a flag.
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
	result, err := kong.Check(data, settings.Schemas())
	if err != nil {
		return usage("%s: %w", name, err)
	}
	if f != output.Table || len(result.Faults) > 0 {
		if err := writeFaults(c, f, result.Faults); err != nil {
			return err
		}
	}
	if len(result.Faults) > 0 {
		return withHint(usage("%s is not valid (faults: %d)", name, len(result.Faults)), "put them right and run this again; Kong refuses to start with such a file")
	}
	return sayValid(c, f, name, result.Unchecked)
}

// sayValid says that a file has no faults, and what of it was not checked.
func sayValid(c *cli.Context, f output.Format, name string, unchecked []string) error {
	if f == output.Table && len(unchecked) == 0 {
		_, err := fmt.Fprintf(c.App.Writer, "%s is valid\n", name)
		return err
	}
	if f == output.Table {
		if _, err := fmt.Fprintf(c.App.Writer, "%s: no faults in what was checked\n", name); err != nil {
			return err
		}
	}
	for _, what := range unchecked {
		if _, err := fmt.Fprintf(c.App.ErrWriter, "not checked, Kong alone can judge it: %s\n", what); err != nil {
			return err
		}
	}
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
