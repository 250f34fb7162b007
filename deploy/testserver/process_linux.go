package testserver

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the child when the test process dies, so
// that a test killed by its timeout leaves no server behind.
func dieWithParent(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
