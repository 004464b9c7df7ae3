package holdfast

import (
	"errors"
	"hash/crc32"
	"io"
	"regexp"
	"strconv"

	pb "holdfast.dev/go/holdfastpb"
)

const (
	// The largest payload of one message, and the largest chunk of a stream.
	unaryBytes = 1 << 20
	chunkBytes = 1 << 20
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	position   = regexp.MustCompile(`^([0-9]{1,9}):([0-9]{1,18})$`)
)

// Part is a named piece of a payload that is saved. Its bytes come from Data, or from File if that is set.
type Part struct {
	// Name is the part's name; "" is the default part.
	Name string
	// Data must not change during the save.
	Data []byte
	// File is saved from its current position to its current end. It may be read several times, because a save may be
	// sent again, and must not change otherwise during the save.
	File io.ReadSeeker
}

// Bytes returns a payload of one part, the default one.
func Bytes(data []byte) []Part { return []Part{{Data: data}} }

// File returns a payload of one part, the default one, read from a file. See [Part.File].
func File(file io.ReadSeeker) []Part { return []Part{{File: file}} }

// Progress is called with the bytes that were sent or received, and with all bytes, for payloads that are streamed.
type Progress func(done, all int64)

// The parts of a payload, which may be sent more than once.
type outgoing struct {
	parts []outgoingPart
	size  int64
}

type outgoingPart struct {
	Part
	start int64
	size  int64
}

func newOutgoing(payload []Part) (*outgoing, error) {
	made := &outgoing{}
	for _, part := range payload {
		measured := outgoingPart{Part: part, size: int64(len(part.Data))}
		if part.File != nil {
			start, err := part.File.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, err
			}
			end, err := part.File.Seek(0, io.SeekEnd)
			if err != nil {
				return nil, err
			}
			if end <= start && start > 0 {
				return nil, invalid("payload", "part %q is a file with nothing left to read: it stands at %d, its end",
					part.Name, start)
			}
			measured.start, measured.size = start, end-start
		}
		made.parts = append(made.parts, measured)
		made.size += measured.size
	}
	return made, nil
}

func (o *outgoing) sizes() map[string]int64 {
	sizes := map[string]int64{}
	for _, part := range o.parts {
		sizes[part.Name] = part.size
	}
	return sizes
}

// Returns the parts for one message.
func (o *outgoing) inline() ([]*pb.Part, error) {
	var parts []*pb.Part
	for _, part := range o.parts {
		data, err := part.read(0, int(part.size))
		if err != nil {
			return nil, err
		}
		checksum := crc32.Checksum(data, castagnoli)
		parts = append(parts, &pb.Part{Name: part.Name, Data: data, Crc32C: &checksum})
	}
	return parts, nil
}

// Sends the chunks and the finish of a stream.
//
// received is the position up to which the server has the payload, from its metadata; "" for none of it.
func (o *outgoing) send(received string, progress Progress, send func(*pb.SaveStreamRequest) error) error {
	nextPart, nextByte, err := parsePosition(received)
	if err != nil {
		return err
	}
	sent := int64(0)
	for index, part := range o.parts {
		offset := int64(0)
		if index < nextPart {
			offset = part.size
		} else if index == nextPart {
			offset = min(nextByte, part.size)
		}
		sent += offset
		// Even an empty part has a chunk, unless the server has it.
		for first := index >= nextPart && offset == 0; offset < part.size || first; first = false {
			data, err := part.read(offset, int(min(part.size-offset, chunkBytes)))
			if err != nil {
				return err
			}
			chunk := &pb.Chunk{Part: part.Name, Offset: offset, Data: data, Crc32C: crc32.Checksum(data, castagnoli)}
			if err := send(&pb.SaveStreamRequest{Message: &pb.SaveStreamRequest_Chunk{Chunk: chunk}}); err != nil {
				return err
			}
			offset += int64(len(data))
			sent += int64(len(data))
			if progress != nil {
				progress(sent, o.size)
			}
		}
	}
	finish := &pb.SaveStreamFinish{SizeBytes: sent}
	return send(&pb.SaveStreamRequest{Message: &pb.SaveStreamRequest_Finish{Finish: finish}})
}

// Returns some bytes of the part.
func (p *outgoingPart) read(offset int64, size int) ([]byte, error) {
	if p.File == nil {
		return p.Data[offset : offset+int64(size)], nil
	}
	if _, err := p.File.Seek(p.start+offset, io.SeekStart); err != nil {
		return nil, ownError{err}
	}
	data := make([]byte, size)
	_, err := io.ReadFull(p.File, data)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, invalid("payload", "part %q is a file that became shorter while it was saved, from %d bytes", p.Name, p.size)
	}
	if err != nil {
		return nil, ownError{err}
	}
	return data, nil
}

func parsePosition(received string) (part int, offset int64, err error) {
	if received == "" {
		return 0, 0, nil
	}
	found := position.FindStringSubmatch(received)
	if found == nil {
		return 0, 0, wrongAnswer("an invalid position: %.80q", received)
	}
	part, _ = strconv.Atoi(found[1])
	offset, _ = strconv.ParseInt(found[2], 10, 64)
	return part, offset, nil
}
