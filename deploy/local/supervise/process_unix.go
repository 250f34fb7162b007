//go:build unix && !linux

package supervise

import "syscall"

// attributes puts the child into a process group of its own, so that Ctrl-C
// reaches the parent alone. Only Linux ends children whose parent was killed
// with kill -9; here they stay.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
