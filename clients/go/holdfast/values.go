package holdfast

import (
	"time"

	pb "holdfast.dev/go/holdfastpb"
)

// Format is the format of a payload: a name and a version, at least 1.
type Format struct {
	Name    string
	Version int32
}

// AcceptedFormat is a format name, and the versions that are accepted, both bounds included.
type AcceptedFormat struct {
	Name       string
	MinVersion int32
	MaxVersion int32
}

// Producer is the program that saved a checkpoint.
type Producer struct {
	Name    string
	Version string
}

// PartInfo is a part of a payload, without its bytes.
type PartInfo struct {
	Name   string
	Size   int64
	SHA256 []byte
	CRC32C uint32
}

// Checkpoint is a committed checkpoint, without its payload.
type Checkpoint struct {
	Namespace    string
	WorkflowID   string
	CheckpointID string
	// Revision is its revision in the workflow's log.
	Revision int64
	// ParentID is the checkpoint that it was made from; "" for none.
	ParentID string
	Format   Format
	Producer Producer
	Labels   map[string]string
	Parts    []PartInfo
	// Size is the bytes of all parts.
	Size    int64
	Created time.Time
	// Expires is when its time to live ends; zero for never.
	Expires time.Time
	// Epoch is the epoch of the writer that saved it; 0 for none.
	Epoch     int64
	RequestID string
	TraceID   string
	// Replayed reports whether an earlier attempt of the same save had committed it.
	Replayed bool
	Pinned   bool
	// StoredBytes is the bytes of all parts as the server stores them; 0 from a server that does not report it.
	StoredBytes int64
	// Principal is the caller that saved it; "" if the server did not authenticate callers.
	Principal string
}

// Loaded is a checkpoint with its payload.
type Loaded struct {
	// Info is the checkpoint's metadata.
	Info Checkpoint
	// Parts holds the bytes by the name of their part, checked against their digests.
	Parts map[string][]byte
	// Format is the format of these bytes.
	Format Format
	// FellBack reports whether the checkpoint is older than the one that was requested.
	FellBack bool
	// Skipped are the checkpoints that a fallback skipped, newest first.
	Skipped []Finding
	// MigratedFrom is the format that it was stored in, if Resume migrated it.
	MigratedFrom *Format
	// HeadRevision is the revision of the log's head, which may be a fence or a deletion; 0 if the head is damaged.
	HeadRevision int64
	// Records are its records in the order of their keys, if they were requested.
	Records []Record
}

// Data returns the bytes of the default part, or of the only part if there is no default part; nil if there are several
// parts and none is the default.
func (l *Loaded) Data() []byte {
	data, ok := l.Parts[""]
	if !ok && len(l.Parts) == 1 {
		for _, data = range l.Parts {
			return data
		}
	}
	return data
}

// LoadedPart is a checkpoint of which one part was written to a file or a writer.
type LoadedPart struct {
	Info         Checkpoint
	Part         PartInfo
	FellBack     bool
	Skipped      []Finding
	HeadRevision int64
}

// Finding is a checkpoint that was skipped, or a problem that a validation found.
type Finding struct {
	CheckpointID string
	Revision     int64
	Reason       Reason
	Message      string
}

// Record is small data that is attached to a checkpoint id.
type Record struct {
	// Key is unique for the checkpoint id, 1 to 512 bytes.
	Key  string
	Data []byte
	// Replace replaces the record that has the same key; only for records to attach.
	Replace bool
}

// Validation reports whether a checkpoint can be resumed from.
type Validation struct {
	Resumable bool
	Findings  []Finding
	// Checkpoint is the checkpoint; nil if it could not be read.
	Checkpoint *Checkpoint
	// LastGood is the newest checkpoint that can be resumed from; nil if there is none.
	LastGood *Checkpoint
}

// Writer is the ownership of a workflow.
type Writer struct {
	// Epoch is the writer's epoch, for its calls.
	Epoch int64
	// Revision is the revision of the fence.
	Revision int64
	// LeaseExpires is when the lease ends if no save renews it; zero without a lease.
	LeaseExpires time.Time
	// Replayed reports whether an earlier attempt of the same call had acquired it.
	Replayed bool
}

// WorkflowInfo is a workflow, according to the head of its log.
type WorkflowInfo struct {
	Namespace    string
	WorkflowID   string
	HeadRevision int64
	// CheckpointRevision is the newest revision that holds a checkpoint; 0 for none.
	CheckpointRevision int64
	Epoch              int64
	Updated            time.Time
}

func toCheckpoint(message *pb.Checkpoint) *Checkpoint {
	if message == nil {
		return nil
	}
	found := &Checkpoint{
		Namespace:    message.GetNamespace(),
		WorkflowID:   message.GetWorkflowId(),
		CheckpointID: message.GetCheckpointId(),
		Revision:     message.GetRevision(),
		ParentID:     message.GetParentId(),
		Format:       Format{message.GetFormat().GetName(), message.GetFormat().GetVersion()},
		Producer:     Producer{message.GetProducer().GetName(), message.GetProducer().GetVersion()},
		Labels:       message.GetLabels(),
		Size:         message.GetSizeBytes(),
		Epoch:        message.GetEpoch(),
		RequestID:    message.GetRequestId(),
		TraceID:      message.GetTraceId(),
		Pinned:       message.GetPinned(),
		StoredBytes:  message.GetStoredBytes(),
		Principal:    message.GetPrincipal(),
	}
	for _, part := range message.GetParts() {
		found.Parts = append(found.Parts, toPart(part))
	}
	if message.GetCreateTime() != nil {
		found.Created = message.GetCreateTime().AsTime()
	}
	if message.GetExpireTime() != nil {
		found.Expires = message.GetExpireTime().AsTime()
	}
	return found
}

func toPart(part *pb.PartInfo) PartInfo {
	return PartInfo{part.GetName(), part.GetSizeBytes(), part.GetSha256(), part.GetCrc32C()}
}

type found interface {
	GetCheckpointId() string
	GetRevision() int64
	GetReason() string
	GetMessage() string
}

func toFindings[Message found](messages []Message) []Finding {
	var findings []Finding
	for _, each := range messages {
		findings = append(findings,
			Finding{each.GetCheckpointId(), each.GetRevision(), Reason(each.GetReason()), each.GetMessage()})
	}
	return findings
}

func (f Format) message() *pb.Format { return &pb.Format{Name: f.Name, Version: f.Version} }

func acceptedMessages(accepted []AcceptedFormat) []*pb.AcceptedFormat {
	var messages []*pb.AcceptedFormat
	for _, each := range accepted {
		messages = append(messages,
			&pb.AcceptedFormat{Name: each.Name, MinVersion: each.MinVersion, MaxVersion: each.MaxVersion})
	}
	return messages
}
