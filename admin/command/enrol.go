package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/account/enrolment"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/program"
)

func enrolCommand() *cli.Command {
	return &cli.Command{
		Name:  "enrol",
		Usage: "issue the codes with which customers register, for identity's --registration code",
		Subcommands: []*cli.Command{
			leaf("issue", "issue a one-time code to each customer of a file", "earlybird enrol issue --customers customers.csv --output csv > codes.csv", enrolIssue, changeFlags(
				&cli.StringFlag{Name: "customers", Usage: "CSV `FILE` with one customer reference a row (required)"},
				&cli.StringFlag{Name: "expires", Value: "30d", Usage: "`DURATION` for which the codes are good, in days or hours"},
				&cli.BoolFlag{Name: "reissue", Usage: "replace live codes with new ones: for when the output was lost"},
			)...),
			aboutCustomer("show", "show how a customer stands: until when a code is good, and the account", enrolShow, readFlags()),
			aboutCustomer("revoke", "end a customer's code", enrolRevoke, changeFlags()),
			aboutCustomer("release", "let a customer whose account was deleted enrol again", enrolRelease, changeFlags()),
		},
	}
}

// aboutCustomer is a command about one customer.
func aboutCustomer(name, what string, run func(c *cli.Context) error, flags []cli.Flag) *cli.Command {
	l := leaf(name, what, "earlybird enrol "+name+" C-10042", run, flags...)
	l.ArgsUsage = "CUSTOMER"
	return l
}

// customer is the one argument.
func customer(c *cli.Context) (string, error) {
	switch c.Args().Len() {
	case 0:
		return "", withHint(usage("a customer reference is needed"), "for example: %s C-10042", c.Command.HelpName)
	case 1:
		reference := c.Args().First()
		if err := enrolment.CheckCustomer(reference); err != nil {
			return "", usage("customer %q %w", reference, err)
		}
		return reference, nil
	default:
		return "", usage("%q: one customer at a time", c.Args().Get(1))
	}
}

// enrolments returns the administration of codes on these stores.
func (s *stores) enrolments() *enrolment.Admin {
	return enrolment.NewAdmin(enrolment.AdminConfig{Store: s.mongo, By: s.by})
}

var customerColumns = columns("customer status expires issued_at issued_by user_id username registered_at")

func customerRow(found enrolment.Customer) []any {
	return []any{
		found.Reference, string(found.Status), found.Issue.Expires, found.Issue.At, found.Issue.By,
		found.Claim.UserID, found.User.Username, found.Claim.At,
	}
}

// withCustomer finds the customer that was named.
func withCustomer(c *cli.Context, do func(s *stores, f output.Format, found enrolment.Customer) error) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	reference, err := customer(c)
	if err != nil {
		return err
	}
	s, err := open(c)
	if err != nil {
		return err
	}
	defer s.close(c.Context)
	found, err := s.enrolments().Show(c.Context, reference)
	if err != nil {
		return err
	}
	if found.Status == enrolment.StatusNone {
		return withHint(fmt.Errorf("no code was ever issued to customer %q", reference), "references are compared as they are written: case matters")
	}
	return do(s, f, found)
}

func enrolShow(c *cli.Context) error {
	return withCustomer(c, func(_ *stores, f output.Format, found enrolment.Customer) error {
		return output.One(c.App.Writer, f, customerColumns, customerRow(found)...)
	})
}

func enrolRevoke(c *cli.Context) error {
	return changeCustomer(c, "enrol revoke", enrolment.StatusLive, "This ends the code of customer %q.", (*enrolment.Admin).Revoke)
}

func enrolRelease(c *cli.Context) error {
	return changeCustomer(c, "enrol release", enrolment.StatusDeleted,
		"This lets customer %q enrol again with a new code, though their account was deleted. What that account holds in a campaign stays taken.", (*enrolment.Admin).Release)
}

// changeCustomer changes what a customer with this status may do, on record, and
// shows how the customer stands then.
func changeCustomer(c *cli.Context, name string, status enrolment.Status, what string, do func(*enrolment.Admin, context.Context, string) (enrolment.Customer, error)) error {
	return withCustomer(c, func(s *stores, f output.Format, found enrolment.Customer) error {
		if found.Status != status {
			return withHint(fmt.Errorf("customer %q %s", found.Reference, standing[found.Status]), `"earlybird enrol show %s" says more`, found.Reference)
		}
		if err := confirm(c, what, found.Reference); err != nil {
			return err
		}
		var after enrolment.Customer
		err := recorded(c, s, mongostore.Action{Name: name, Customer: found.Reference}, func(ctx context.Context, _ *mongostore.Action) error {
			var err error
			after, err = do(s.enrolments(), ctx, found.Reference)
			return err
		})
		if err != nil {
			return err
		}
		return output.One(c.App.Writer, f, customerColumns, customerRow(after)...)
	})
}

// standing says how a customer stands, and so why one is skipped.
var standing = map[enrolment.Status]string{
	enrolment.StatusNone:     "was issued a code, or had one revoked, by somebody else at the same moment",
	enrolment.StatusLive:     "has a live code",
	enrolment.StatusExpired:  "has a code that has expired",
	enrolment.StatusRevoked:  "has no code: it was revoked",
	enrolment.StatusEnrolled: "has an account",
	enrolment.StatusDeleted:  "had an account that was deleted",
}

// enrolIssue issues codes to the customers of a file, once all of it was checked.
func enrolIssue(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	if err := errors.Join(noArguments(c), required(c, "customers")); err != nil {
		return err
	}
	lifetime, err := program.ParseDays(c.String("expires"))
	if err != nil {
		return usage("--expires: %w", err)
	}
	file, err := openCustomers(c.String("customers"))
	if err != nil {
		return err
	}
	defer file.close()
	if err := file.check(); err != nil {
		return err
	}
	s, err := open(c)
	if err != nil {
		return err
	}
	defer s.close(c.Context)
	expires := now().Add(lifetime)
	what := fmt.Sprintf("This issues codes, good until %s, to %d customers, %s to %s.", expires.Format(time.RFC3339), file.Total, file.First, file.Last)
	if file.Total == 1 {
		what = fmt.Sprintf("This issues a code, good until %s, to one customer, %s.", expires.Format(time.RFC3339), file.First)
	}
	if c.Bool("reissue") {
		what += " It ends the codes that they have. Customers who have an account are skipped."
	} else {
		what += " Customers who have an account or a live code are skipped."
	}
	if err := confirm(c, "%s", what); err != nil {
		return err
	}
	run := &issuing{c: c, admin: s.enrolments(), expires: expires, list: output.List(c.App.Writer, f, columns("customer code expires")...)}
	return recorded(c, s, mongostore.Action{Name: "enrol issue"}, func(ctx context.Context, a *mongostore.Action) error {
		err := run.all(ctx, file)
		a.Detail = run.result()
		return err
	})
}

// issuing is one run of `enrol issue`.
type issuing struct {
	c               *cli.Context
	admin           *enrolment.Admin
	expires         time.Time
	list            output.Writer
	issued, skipped int
	lost            bool // somebody may have a code that was not written
}

func (r *issuing) result() string {
	return fmt.Sprintf("codes issued: %d, customers skipped: %d", r.issued, r.skipped)
}

// all issues codes batch by batch, and writes each once it is stored. What was
// issued before an error is written all the same.
func (r *issuing) all(ctx context.Context, file *customerFile) error {
	errs := r.c.App.ErrWriter
	progress := func(int) {}
	if drawable(errs) {
		progress = meter(errs, "Issuing", "codes", file.Total)
	}
	done := 0
	err := file.batches(func(customers []string) error {
		if r.c.Err() != nil {
			return errInterrupted
		}
		all, err := r.admin.Issue(ctx, customers, r.expires, r.c.Bool("reissue"))
		r.lost = err != nil
		for _, one := range all {
			if one.Skipped != "" {
				r.skipped++
				clearLine(errs)
				say(errs, "skipped: %s %s\n", one.Customer, standing[one.Skipped])
				continue
			}
			if err := r.list.Row(one.Customer, one.Code.String(), r.expires); err != nil {
				r.lost = true
				return err
			}
			r.issued++
		}
		if err != nil {
			return err
		}
		done += len(customers)
		progress(done)
		return nil
	})
	progress(-1)
	unwritten := r.list.Close()
	r.lost = r.lost || unwritten != nil
	err = errors.Join(err, unwritten)
	if err == nil {
		say(errs, "%s.\n", r.result())
		return nil
	}
	hint := "what was issued is in the output; run it again for the others"
	if r.lost {
		hint = "some customers who are not in the output may have a code that nobody knows; run it again for the others, with --reissue"
	}
	return withHint(fmt.Errorf("%w: %s, not reached: %d", err, r.result(), file.Total-r.issued-r.skipped), "%s", hint)
}

// clearLine removes the meter from a terminal before another line.
func clearLine(w io.Writer) {
	if drawable(w) {
		say(w, "\r\x1b[K")
	}
}
