//go:build !windows

package stack

const executableSuffix = ""
