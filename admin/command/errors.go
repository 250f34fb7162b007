package command

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// Exit statuses.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
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
// status. interrupted says whether Ctrl-C was what went wrong.
func report(w io.Writer, err error, interrupted bool) int {
	if err == nil {
		return exitDone
	}
	if unread(err) {
		return exitFailed
	}
	if interrupted && !errors.Is(err, errInterrupted) {
		err = fmt.Errorf("%w: %w", errInterrupted, err)
	}
	say(w, "earlybird: %s\n", brief(err))
	if hint := hintFor(err); hint != "" {
		say(w, "hint: %s\n", hint)
	}
	var u *usageError
	switch {
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &u):
		return exitUsage
	default:
		return exitFailed
	}
}

// brief is an error in the words of a person who has to act on it.
func brief(err error) string {
	text := err.Error()
	return strings.TrimPrefix(text, campaign.ErrRefused.Error()+": ")
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
	var o *unavailable.Error
	var invalid *campaign.InvalidError
	var conflict *campaign.ConflictError
	var uncertain *campaign.UncertainError
	var behind *campaign.BehindError
	var foreign *campaign.ForeignError
	var damage *campaign.DamageError
	switch {
	case errors.As(err, &h):
		return h.hint
	case errors.Is(err, errInterrupted):
		return ""
	case errors.Is(err, campaign.ErrNoCampaign):
		return `start one, for example: earlybird campaign start --name Launch --slots 100 --discount 30`
	case errors.Is(err, account.ErrNotAnnounced):
		return "the identity service tells the gateways by itself once Redis answers; until then they may accept earlier tokens"
	case errors.As(err, &conflict):
		return `nothing was changed; look at it with "earlybird campaign status", then decide again`
	case errors.As(err, &uncertain):
		return `"earlybird campaign status" shows whether it was done`
	case errors.As(err, &behind):
		return `nothing was changed; "earlybird campaign restore" shows what is missing and puts it back`
	case errors.As(err, &foreign):
		return `nothing was changed; compare EARLYBIRD_MONGO_URL and EARLYBIRD_REDIS_URL; "earlybird redis adopt" takes this Redis over`
	case errors.As(err, &damage):
		return "nothing is appended after it; deploy/docs/operations.md says what to do with a damaged log"
	case errors.As(err, &invalid):
		return invalidHint(invalid.Field)
	case errors.Is(err, campaign.ErrRefused):
		return `"earlybird campaign status" shows where it stands`
	case errors.As(err, &o):
		return outageHint(o.Dependency)
	}
	return ""
}

// invalidHint is what to do about settings that are refused.
func invalidHint(field string) string {
	switch field {
	case "slots":
		return `"earlybird campaign status" shows the slots there are; "earlybird campaign end" stops granting`
	case "ends":
		return "give a time in the future that is later than the start, such as 2126-12-24T18:00:00+01:00"
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
