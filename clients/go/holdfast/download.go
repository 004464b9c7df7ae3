package holdfast

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"slices"

	"google.golang.org/protobuf/proto"

	pb "holdfast.dev/go/holdfastpb"
)

// Takes the bytes of one part, in their order.
type sink interface {
	io.Writer
	// Drops everything that was written: another payload follows.
	restart() error
}

// A payload that is being received, over as many streams as it takes. Chunks are checked and handed on as they arrive.
// Only `finish` proves that a stream was whole.
type download struct {
	// The first request; later ones resume it.
	request *pb.LoadStreamRequest
	// Returns a sink for each part that is wanted.
	sinks    func(*pb.Checkpoint) (map[string]sink, error)
	progress Progress
	maxBytes int64
	// The checkpoint from the answer before the first stream.
	announced *pb.Checkpoint

	// The header of the first stream; nil before it came.
	header *pb.LoadStreamHeader
	parts  []*receivedPart
	total  int64
}

type receivedPart struct {
	info     *pb.PartInfo
	sink     sink
	received int64
	hasBegun bool
	sha256   hash.Hash
}

// Even an empty part has a chunk.
func (p *receivedPart) isMissing() bool { return !p.hasBegun || p.received < p.info.GetSizeBytes() }

// Reports whether nothing is missing, so that no further stream is needed.
func (d *download) isWhole() bool {
	return d.header != nil && !slices.ContainsFunc(d.parts, (*receivedPart).isMissing)
}

// Returns a request for the missing ranges of the checkpoint that the first stream began.
func (d *download) next() *pb.LoadStreamRequest {
	if d.header == nil {
		return d.request
	}
	request := proto.CloneOf(d.request)
	request.CheckpointId = d.header.GetCheckpoint().GetCheckpointId()
	request.Fallback = pb.Fallback_FALLBACK_NONE
	request.Ranges = nil
	for _, part := range d.parts {
		if part.isMissing() {
			request.Ranges = append(request.Ranges, &pb.PartRange{Part: part.info.GetName(), Offset: part.received})
		}
	}
	return request
}

// Receives a stream to its end.
func (d *download) receive(stream interface {
	Recv() (*pb.LoadStreamResponse, error)
}) error {
	before := d.total
	hasHeader, isFinished := false, false
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if isFinished || hasHeader == (message.GetHeader() != nil) {
			return inTransit("its messages are out of order")
		}
		switch {
		case message.GetHeader() != nil:
			if err := d.begin(message.GetHeader()); err != nil {
				return err
			}
			hasHeader = true
		case message.GetChunk() != nil:
			if err := d.take(message.GetChunk()); err != nil {
				return err
			}
		case message.GetFinish() != nil:
			if message.GetFinish().GetSizeBytes() != d.total-before || !d.isWhole() {
				return inTransit("something is missing")
			}
			isFinished = true
		}
	}
	if !isFinished {
		return of(ErrServerUnavailable, "the stream ended before its payload did")
	}
	return nil
}

// Accepts the header of a stream. All streams must be about the same checkpoint.
func (d *download) begin(header *pb.LoadStreamHeader) error {
	found := header.GetCheckpoint()
	if err := requireLoaded(header, d.request); err != nil {
		return err
	}
	if err := requireSizes(found, d.maxBytes); err != nil {
		return err
	}
	if d.announced.GetRevision() == found.GetRevision() && !proto.Equal(d.announced, found) {
		return inTransit("its checkpoint is not the one that was announced")
	}
	if d.header == nil {
		sinks, err := d.sinks(found)
		if err != nil {
			return err
		}
		for _, info := range found.GetParts() {
			if into, wanted := sinks[info.GetName()]; wanted {
				d.parts = append(d.parts, &receivedPart{info: info, sink: into, sha256: sha256.New()})
			}
		}
		d.header = header
		return nil
	}
	before := d.header.GetCheckpoint()
	isSame := slices.EqualFunc(found.GetParts(), before.GetParts(), func(a, b *pb.PartInfo) bool { return proto.Equal(a, b) })
	if found.GetCheckpointId() != before.GetCheckpointId() || (found.GetRevision() == before.GetRevision() && !isSame) {
		return inTransit("it resumes with another checkpoint")
	}
	if found.GetRevision() != before.GetRevision() {
		for _, part := range d.parts {
			if err := part.sink.restart(); err != nil {
				return ownError{err}
			}
		}
		d.header, d.parts, d.total = nil, nil, 0
		return of(ErrServerUnavailable, "the checkpoint was replaced while it was loaded")
	}
	return nil
}

// Checks a chunk, hashes it and hands it on.
func (d *download) take(chunk *pb.Chunk) error {
	index := slices.IndexFunc(d.parts, func(each *receivedPart) bool { return each.info.GetName() == chunk.GetPart() })
	if index < 0 {
		return inTransit("part %.200q was not requested", chunk.GetPart())
	}
	part, data := d.parts[index], chunk.GetData()
	switch size := int64(len(data)); {
	case chunk.GetOffset() != part.received || crc32.Checksum(data, castagnoli) != chunk.GetCrc32C():
		return inTransit("a chunk of part %.200q does not match", chunk.GetPart())
	case part.received+size > part.info.GetSizeBytes():
		return inTransit("part %.200q has more bytes than its header announces", chunk.GetPart())
	// An empty part has one empty chunk. A stream of more empty chunks could be endless.
	case size == 0 && (part.info.GetSizeBytes() > 0 || part.hasBegun):
		return inTransit("a chunk of part %.200q is empty", chunk.GetPart())
	}
	if _, err := part.sink.Write(data); err != nil {
		return ownError{err}
	}
	part.sha256.Write(data)
	part.hasBegun = true
	part.received += int64(len(data))
	d.total += int64(len(data))
	if d.progress != nil {
		all := int64(0)
		for _, each := range d.parts {
			all += each.info.GetSizeBytes()
		}
		d.progress(d.total, all)
	}
	return nil
}

// Checks the parts against their digests.
func (d *download) requireDigests() error {
	for _, part := range d.parts {
		if part.isMissing() || !bytes.Equal(part.sha256.Sum(nil), part.info.GetSha256()) {
			return mismatch(d.header.GetCheckpoint(), part.info.GetName())
		}
	}
	return nil
}
