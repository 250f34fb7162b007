package supervise

import (
	"os"
	"syscall"
)

// terminate asks a process to end, and kills it where it cannot be asked.
func terminate(process *os.Process) error {
	if err := process.Signal(syscall.SIGTERM); err != nil {
		return process.Kill()
	}
	return nil
}
