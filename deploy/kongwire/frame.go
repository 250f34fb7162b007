package kongwire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MaxFrame is the largest frame that ReadFrame accepts, in bytes.
const MaxFrame = 16 << 20

// ErrFrameTooLarge reports a frame over MaxFrame.
var ErrFrameTooLarge = errors.New("frame is too large")

// ReadFrame reads one frame: a 4-byte little-endian length, then that many
// bytes. The error is io.EOF when the connection ended before the frame, and
// io.ErrUnexpectedEOF when it ended within.
func ReadFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size > MaxFrame {
		return nil, fmt.Errorf("%w: %d bytes", ErrFrameTooLarge, size)
	}
	frame := make([]byte, size)
	if _, err := io.ReadFull(r, frame); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return frame, nil
}

// WriteFrame writes one frame the way Kong does, in two writes.
func WriteFrame(w io.Writer, frame []byte) error {
	var head [4]byte
	binary.LittleEndian.PutUint32(head[:], uint32(len(frame))) //nolint:gosec // G115: frames are far below 4 GiB.
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	if len(frame) == 0 {
		return nil
	}
	_, err := w.Write(frame)
	return err
}
