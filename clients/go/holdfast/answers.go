package holdfast

import (
	"crypto/sha256"
	"maps"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "holdfast.dev/go/holdfastpb"
)

// Checks of a server's answers before they reach the caller: a broken or hostile server must not hurt it. An answer must
// name what was requested, must not contradict itself, and must not be larger than it announces or than is allowed.

const (
	// The most bytes of a payload that Load keeps in memory, if the caller sets no other limit.
	defaultMaxBytes = 4 << 30
	// The most bytes that the records of one checkpoint may have together.
	maxRecordsBytes = 512 << 20
)

// Checks that a checkpoint is one that was requested. "" stands for any workflow or checkpoint.
func requireNamed(found *pb.Checkpoint, namespace, workflowID, checkpointID string) error {
	for _, each := range []struct{ name, found, wanted string }{
		{"namespace", found.GetNamespace(), namespace},
		{"workflow_id", found.GetWorkflowId(), workflowID},
		{"checkpoint_id", found.GetCheckpointId(), checkpointID},
	} {
		if each.wanted != "" && each.found != each.wanted {
			return wrongAnswer("%s %.200q, but %q was requested", each.name, each.found, each.wanted)
		}
	}
	if found.GetCheckpointId() == "" || found.GetWorkflowId() == "" || found.GetRevision() < 1 {
		return wrongAnswer("a checkpoint without id, workflow or revision")
	}
	return nil
}

type loadRequest interface {
	GetNamespace() string
	GetWorkflowId() string
	GetCheckpointId() string
	GetFallback() pb.Fallback
}

type loadAnswer interface {
	GetCheckpoint() *pb.Checkpoint
	GetFellBack() bool
	GetSkipped() []*pb.SkippedCheckpoint
	GetHeadRevision() int64
}

// Checks that the answer to a load, or the header of its stream, is about the requested checkpoint.
func requireLoaded(answer loadAnswer, request loadRequest) error {
	if answer.GetFellBack() && request.GetFallback() != pb.Fallback_FALLBACK_LAST_GOOD {
		return wrongAnswer("an older checkpoint, but no fallback was requested")
	}
	checkpointID := request.GetCheckpointId()
	if answer.GetFellBack() {
		checkpointID = ""
	}
	return requireNamed(answer.GetCheckpoint(), request.GetNamespace(), request.GetWorkflowId(), checkpointID)
}

// Checks that a checkpoint is the one that was saved.
func requireSaved(found *pb.Checkpoint, header *pb.SaveHeader, saved *outgoing) error {
	if err := requireNamed(found, header.GetNamespace(), header.GetWorkflowId(), header.GetCheckpointId()); err != nil {
		return err
	}
	sizes := map[string]int64{}
	for _, part := range found.GetParts() {
		sizes[part.GetName()] = part.GetSizeBytes()
	}
	if !proto.Equal(found.GetFormat(), header.GetFormat()) || !maps.Equal(sizes, saved.sizes()) {
		return wrongAnswer("a checkpoint with another format or other parts than were saved")
	}
	return nil
}

// Checks the sizes that a checkpoint announces.
func requireSizes(found *pb.Checkpoint, maxBytes int64) error {
	names, sum := map[string]bool{}, int64(0)
	for _, part := range found.GetParts() {
		if part.GetSizeBytes() < 0 || names[part.GetName()] || sum+part.GetSizeBytes() < sum {
			return of(ErrCheckpointCorrupted, "two parts of the checkpoint have the same name, or a part has a wrong size")
		}
		names[part.GetName()] = true
		sum += part.GetSizeBytes()
	}
	if sum != found.GetSizeBytes() {
		return of(ErrCheckpointCorrupted, "the checkpoint announces %d bytes, its parts %d", found.GetSizeBytes(), sum)
	}
	if sum > maxBytes {
		failure := of(ErrPayloadTooLarge, "the checkpoint has %d bytes, MaxBytes allows %d", sum, maxBytes)
		failure.Metadata["checkpoint_id"] = found.GetCheckpointId()
		failure.Metadata["size_bytes"] = strconv.FormatInt(sum, 10)
		failure.Advice = "Raise MaxBytes, or load into a file."
		return failure
	}
	return nil
}

// Checks that parts match the sizes and digests of the checkpoint, and returns them by name.
func checkedParts(checkpoint *pb.Checkpoint, received []*pb.Part) (map[string][]byte, error) {
	data := map[string][]byte{}
	for _, part := range received {
		data[part.GetName()] = part.GetData()
	}
	parts := map[string][]byte{}
	for _, info := range checkpoint.GetParts() {
		found := data[info.GetName()]
		digest := sha256.Sum256(found)
		if int64(len(found)) != info.GetSizeBytes() || string(digest[:]) != string(info.GetSha256()) {
			return nil, mismatch(checkpoint, info.GetName())
		}
		if found == nil {
			found = []byte{}
		}
		parts[info.GetName()] = found
		delete(data, info.GetName())
	}
	for name := range data {
		return nil, inTransit("part %.200q is not a part of the checkpoint", name)
	}
	return parts, nil
}

func mismatch(checkpoint *pb.Checkpoint, part string) *Error {
	failure := of(ErrCheckpointCorrupted, "part %q of checkpoint %q does not match its size and digest",
		part, checkpoint.GetCheckpointId())
	failure.Metadata["checkpoint_id"], failure.Metadata["part"] = checkpoint.GetCheckpointId(), part
	return failure
}

// The records of a checkpoint, collected over all pages.
type collected struct {
	records []Record
	size    int
}

func (c *collected) add(records []*pb.Record) error {
	for _, record := range records {
		if last := len(c.records) - 1; last >= 0 && record.GetKey() <= c.records[last].Key {
			return wrongAnswer("the record %.200q out of order", record.GetKey())
		}
		c.size += len(record.GetKey()) + len(record.GetData())
		if c.size > maxRecordsBytes {
			return of(ErrPayloadTooLarge, "the records of the checkpoint have more than %d bytes", maxRecordsBytes)
		}
		c.records = append(c.records, Record{Key: record.GetKey(), Data: record.GetData()})
	}
	return nil
}

// The page tokens of one list, which must never repeat. Finds a cycle of any length in constant memory: the distance to
// the remembered token doubles until it is a multiple of the cycle's length.
type pageTokens struct {
	remembered   string
	steps        int
	renewedAfter int
}

func (t *pageTokens) requireNew(token string) error {
	if token == t.remembered {
		return wrongAnswer("the same page token twice, so that its list would never end")
	}
	t.steps++
	if t.steps >= t.renewedAfter {
		t.remembered, t.steps, t.renewedAfter = token, 0, max(t.renewedAfter, 1)*2
	}
	return nil
}

func requireListed(found *pb.Workflow, request *pb.ListWorkflowsRequest) error {
	if found.GetNamespace() != request.GetNamespace() ||
		!strings.HasPrefix(found.GetWorkflowId(), request.GetWorkflowIdPrefix()) {
		return wrongAnswer("workflow %.200q of namespace %.200q, which was not requested",
			found.GetWorkflowId(), found.GetNamespace())
	}
	return nil
}
