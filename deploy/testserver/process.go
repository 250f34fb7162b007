package testserver

import (
	"os"
	"syscall"
)

// terminate asks the process to end, and kills it where it cannot be asked.
func terminate(process *os.Process) {
	if err := process.Signal(syscall.SIGTERM); err != nil {
		_ = process.Kill()
	}
}
