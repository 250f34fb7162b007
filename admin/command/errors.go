package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/outage"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a fault of what was typed: exit status 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

func usage(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// hinted is an error with what to do about it.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }

func (e *hinted) Unwrap() error { return e.err }

func withHint(err error, format string, args ...any) error {
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// say tells the person something beside the result. A terminal that is gone is
// no reason to stop what was asked for.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// report tells the person what went wrong and what to do, and returns the exit
// status.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	if unread(err) {
		return exitFailed
	}
	say(w, "earlybird: %v\n", err)
	if hint := hintFor(err); hint != "" {
		say(w, "hint: %s\n", hint)
	}
	var u *usageError
	if errors.As(err, &u) {
		return exitUsage
	}
	return exitFailed
}

// unread reports that the reader of the output, such as head, has seen enough. It
// needs no message.
func unread(err error) bool {
	var file *fs.PathError
	return errors.Is(err, syscall.EPIPE) && errors.As(err, &file) && file.Path == os.Stdout.Name()
}

// hintFor is what to do about an error: what came with it, or what its kind
// suggests.
func hintFor(err error) string {
	var h *hinted
	var o *outage.Error
	var invalid *campaign.InvalidError
	switch {
	case errors.As(err, &h):
		return h.hint
	case errors.Is(err, context.Canceled):
		return ""
	case errors.Is(err, campaign.ErrNoCampaign):
		return `start one, for example: earlybird campaign start --name Launch --slots 100 --discount 30`
	case errors.Is(err, account.ErrNotAnnounced):
		return "the identity service tells the gateways by itself once Redis answers; until then they may accept earlier tokens"
	case errors.Is(err, campaign.ErrConflict):
		return `look at it with "earlybird campaign status", then decide again`
	case errors.As(err, &invalid):
		return invalidHint(invalid.Field)
	case errors.As(err, &o):
		return outageHint(o.Dependency)
	}
	return ""
}

// invalidHint is what to do about a refused change.
func invalidHint(field string) string {
	switch field {
	case "campaign":
		return `"earlybird campaign end" ends it for good; "earlybird campaign extend" gives it more slots instead`
	case "status":
		return `"earlybird campaign status" shows where it stands`
	case "slots":
		return `"earlybird campaign status" shows the slots there are; "earlybird campaign end" stops granting`
	case "ends":
		return "give a time in the future that is later than --starts, such as 2126-12-24T18:00:00+01:00"
	default:
		return `"earlybird campaign start --help" has an example`
	}
}

func outageHint(dependency string) string {
	const look = `"earlybird doctor" looks at everything`
	switch dependency {
	case "mongodb":
		return "is MongoDB running, and is this its address? --mongo-url or EARLYBIRD_MONGO_URL names another; " + look
	case "redis":
		return "is Redis running, and is this its address? --redis-url or EARLYBIRD_REDIS_URL names another; " + look
	default:
		return look
	}
}
