// Package program holds what all of Earlybird's programs have in common: the
// version, the signals that stop them, secrets in files, and durations in days.
package program
