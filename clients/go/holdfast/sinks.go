package holdfast

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"

	pb "holdfast.dev/go/holdfastpb"
)

// The most memory that is reserved because a header announces a part. More is taken as bytes arrive.
const maxReservedBytes = 64 << 20

// Keeps a part in memory.
type memory struct{ data []byte }

func newMemory(size int64) *memory { return &memory{make([]byte, 0, min(size, maxReservedBytes))} }

func (m *memory) Write(data []byte) (int, error) {
	m.data = append(m.data, data...)
	return len(data), nil
}

func (m *memory) restart() error {
	m.data = m.data[:0]
	return nil
}

// Hands a part to a writer of the caller, which cannot take bytes back.
type handed struct {
	io.Writer
	hasBegun bool
}

func (h *handed) Write(data []byte) (int, error) {
	h.hasBegun = h.hasBegun || len(data) > 0
	return h.Writer.Write(data)
}

func (h *handed) restart() error {
	if h.hasBegun {
		failure := of(ErrServerUnavailable, "the checkpoint was replaced while it was loaded, and a part of it was written")
		failure.Retryable = false
		failure.Advice = "Load it again, into a writer from the start, or use LoadFile."
		return failure
	}
	return nil
}

// A temporary file beside a path, which it replaces once it is whole.
type draft struct {
	*os.File
	path string
}

func newDraft(path string) (*draft, error) {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	if found, err := os.Stat(path); err == nil && !found.Mode().IsRegular() {
		return nil, invalid("path", "must be that of a file, not of a folder, pipe or device (use LoadTo): %.200q", path)
	}
	// With the mode that any new file gets.
	name := filepath.Join(filepath.Dir(path), ".holdfast-"+rand.Text()+".tmp")
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	return &draft{file, path}, nil
}

func (d *draft) restart() error {
	if _, err := d.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return d.Truncate(0)
}

func (d *draft) commit() error {
	if replaced, err := os.Stat(d.path); err == nil {
		if err := d.Chmod(replaced.Mode().Perm()); err != nil {
			return err
		}
	}
	if err := d.Sync(); err != nil {
		return err
	}
	if err := d.Close(); err != nil {
		return err
	}
	return os.Rename(d.Name(), d.path)
}

// Removes the file, unless it was committed.
func (d *draft) discard() {
	if err := d.Close(); !errors.Is(err, os.ErrClosed) {
		_ = os.Remove(d.Name())
	}
}

// Returns the part of a checkpoint that is wanted: the one of that name, or the only one if the name is "".
func wantedPart(found *pb.Checkpoint, name string) (*pb.PartInfo, error) {
	parts := found.GetParts()
	if name == "" && len(parts) == 1 {
		return parts[0], nil
	}
	for _, part := range parts {
		if part.GetName() == name {
			return part, nil
		}
	}
	return nil, invalid("Part", "must be one of the checkpoint's parts, not %.100q", name)
}
