package supervise

import "syscall"

// attributes puts the child into a process group of its own, so that Ctrl-C
// reaches the parent alone and it can stop its children in order, and has the
// kernel kill the child when the parent dies, however that happens.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
