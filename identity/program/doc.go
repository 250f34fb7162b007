// Package program is what every program of Earlybird does alike: it says its
// version, ends on the same signals, and reads secrets from files and long
// durations in days.
package program
