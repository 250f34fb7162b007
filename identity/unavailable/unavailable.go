// Package unavailable carries the one error that says a dependency could not
// answer: the request was fine, nothing was decided, try again.
package unavailable

import (
	"errors"
	"fmt"
)

// Error reports that a dependency was down, unreachable or too slow. Nothing
// is known about whether the operation took effect; every operation of this
// project is safe to repeat.
type Error struct {
	Dependency string // "mongodb", "redis" or "keys"
	Op         string // what was attempted, such as "insert user"
	Err        error
}

// New wraps err as an outage of dependency during op.
func New(dependency, op string, err error) *Error {
	return &Error{Dependency: dependency, Op: op, Err: err}
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s: %v", e.Dependency, e.Op, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// Is reports whether err is, or wraps, an outage.
func Is(err error) bool {
	var e *Error
	return errors.As(err, &e)
}
