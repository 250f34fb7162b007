//go:build unix

package command

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// readerGone reports that w is a pipe whose other end was closed, as after
// `| head -1`. A program that writes rarely would go on for ever.
func readerGone(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	fds := []unix.PollFd{{Fd: int32(file.Fd())}} //nolint:gosec // G115: descriptors are small
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents&unix.POLLERR != 0
}
