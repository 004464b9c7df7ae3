package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/grpc/codes"

	"holdfast.dev/go/holdfast"
)

// Bytes in a command: text, base64, or generated from a seed.
type content struct {
	Text   *string `json:"text"`
	Base64 *string `json:"base64"`
	Seed   int64   `json:"seed"`
	Size   *int64  `json:"size,string"`
}

func (c *content) decoded() ([]byte, error) {
	switch {
	case c.Text != nil:
		return []byte(*c.Text), nil
	case c.Base64 != nil:
		return base64.StdEncoding.DecodeString(*c.Base64)
	case c.Size != nil:
		return generated(c.Seed, int(*c.Size)), nil
	}
	return nil, errors.New("bytes must have text, base64, or seed and size")
}

func generated(seed int64, size int) []byte {
	const block = 1 << 20
	var repeated []byte
	for counter := 0; len(repeated) < block; counter++ {
		digest := sha256.Sum256(fmt.Appendf(nil, "%d:%d", seed, counter))
		repeated = append(repeated, digest[:]...)
	}
	data := bytes.Repeat(repeated, size/block+1)
	for at := 0; at < size; at += block {
		binary.BigEndian.PutUint64(data[at:], uint64(at/block))
	}
	return data[:size]
}

func described(data []byte) fields {
	digest := sha256.Sum256(data)
	answer := fields{"size": strconv.Itoa(len(data)), "sha256": hex.EncodeToString(digest[:])}
	if len(data) <= 256 {
		answer["base64"] = base64.StdEncoding.EncodeToString(data)
	}
	return answer
}

type part struct {
	Name string  `json:"name"`
	Data content `json:"data"`
}

type format struct {
	Name    string `json:"name"`
	Version int32  `json:"version"`
}

func (f format) value() holdfast.Format { return holdfast.Format{Name: f.Name, Version: f.Version} }

type acceptedFormat struct {
	Name       string `json:"name"`
	MinVersion int32  `json:"min_version"`
	MaxVersion int32  `json:"max_version"`
}

func accepted(given []acceptedFormat) []holdfast.AcceptedFormat {
	var formats []holdfast.AcceptedFormat
	for _, each := range given {
		formats = append(formats, holdfast.AcceptedFormat(each))
	}
	return formats
}

// The argument `records`: a list in `attach`, true or false in loads.
type recordsOrFlag struct {
	flag bool
	list []struct {
		Key     string  `json:"key"`
		Data    content `json:"data"`
		Replace bool    `json:"replace"`
	}
}

func (r *recordsOrFlag) UnmarshalJSON(raw []byte) error {
	if json.Unmarshal(raw, &r.flag) == nil {
		return nil
	}
	return json.Unmarshal(raw, &r.list)
}

func (r *recordsOrFlag) values() ([]holdfast.Record, error) {
	var records []holdfast.Record
	for _, each := range r.list {
		data, err := each.Data.decoded()
		if err != nil {
			return nil, err
		}
		records = append(records, holdfast.Record{Key: each.Key, Data: data, Replace: each.Replace})
	}
	return records, nil
}

func decimal(number int64) string { return strconv.FormatInt(number, 10) }

func formatOf(found holdfast.Format) fields {
	return fields{"name": found.Name, "version": found.Version}
}

func checkpointOf(found *holdfast.Checkpoint) fields {
	parts := []fields{}
	for _, each := range found.Parts {
		parts = append(parts, fields{"name": each.Name, "size": decimal(each.Size), "sha256": hex.EncodeToString(each.SHA256)})
	}
	labels := found.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	return fields{
		"namespace": found.Namespace, "workflow_id": found.WorkflowID, "checkpoint_id": found.CheckpointID,
		"revision": decimal(found.Revision), "parent_id": found.ParentID, "format": formatOf(found.Format),
		"labels": labels, "parts": parts, "size": decimal(found.Size), "epoch": decimal(found.Epoch),
		"request_id": found.RequestID, "trace_id": found.TraceID, "pinned": found.Pinned, "replayed": found.Replayed,
	}
}

func checkpointOrNull(found *holdfast.Checkpoint) any {
	if found == nil {
		return nil
	}
	return checkpointOf(found)
}

func skipped(found []holdfast.Finding) []fields {
	answer := []fields{}
	for _, each := range found {
		answer = append(answer,
			fields{"checkpoint_id": each.CheckpointID, "revision": decimal(each.Revision), "reason": each.Reason})
	}
	return answer
}

func recordsOf(found []holdfast.Record) []fields {
	answer := []fields{}
	for _, each := range found {
		answer = append(answer, fields{"key": each.Key, "data": described(each.Data)})
	}
	return answer
}

func saved(found *holdfast.Checkpoint, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return checkpointOf(found), nil
}

func loaded(found *holdfast.Loaded, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	answer := checkpointOf(&found.Info)
	data := []fields{}
	for _, each := range found.Info.Parts {
		if bytes, ok := found.Parts[each.Name]; ok {
			data = append(data, fields{"name": each.Name, "data": described(bytes)})
		}
	}
	answer["format"], answer["data"], answer["records"] = formatOf(found.Format), data, recordsOf(found.Records)
	answer["fell_back"], answer["skipped"] = found.FellBack, skipped(found.Skipped)
	answer["head_revision"], answer["migrated_from"] = decimal(found.HeadRevision), nil
	if found.MigratedFrom != nil {
		answer["migrated_from"] = formatOf(*found.MigratedFrom)
	}
	return answer, nil
}

func loadedPart(found *holdfast.LoadedPart, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	answer := checkpointOf(&found.Info)
	answer["fell_back"], answer["skipped"] = found.FellBack, skipped(found.Skipped)
	answer["head_revision"] = decimal(found.HeadRevision)
	return answer, nil
}

func validated(found *holdfast.Validation, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return fields{
		"resumable": found.Resumable, "findings": skipped(found.Findings),
		"checkpoint": checkpointOrNull(found.Checkpoint), "last_good": checkpointOrNull(found.LastGood),
	}, nil
}

func writer(found *holdfast.Writer, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return fields{"epoch": decimal(found.Epoch), "revision": decimal(found.Revision)}, nil
}

func revision(found int64, err error) (any, error) { return fields{"revision": decimal(found)}, err }

func recordList(found []holdfast.Record, err error) (any, error) {
	return fields{"records": recordsOf(found)}, err
}

func stateOf(handle *holdfast.Workflow) fields {
	answer := fields{"revision": nil, "epoch": nil, "checkpoint_id": handle.CheckpointID()}
	if revision, known := handle.Revision(); known {
		answer["revision"] = decimal(revision)
	}
	if handle.Epoch() != 0 {
		answer["epoch"] = decimal(handle.Epoch())
	}
	return answer
}

func errorOf(failure *holdfast.Error) fields {
	var names = map[codes.Code]string{
		codes.OK: "OK", codes.Canceled: "CANCELLED", codes.Unknown: "UNKNOWN", codes.InvalidArgument: "INVALID_ARGUMENT",
		codes.DeadlineExceeded: "DEADLINE_EXCEEDED", codes.NotFound: "NOT_FOUND", codes.AlreadyExists: "ALREADY_EXISTS",
		codes.PermissionDenied: "PERMISSION_DENIED", codes.ResourceExhausted: "RESOURCE_EXHAUSTED",
		codes.FailedPrecondition: "FAILED_PRECONDITION", codes.Aborted: "ABORTED", codes.OutOfRange: "OUT_OF_RANGE",
		codes.Unimplemented: "UNIMPLEMENTED", codes.Internal: "INTERNAL", codes.Unavailable: "UNAVAILABLE",
		codes.DataLoss: "DATA_LOSS", codes.Unauthenticated: "UNAUTHENTICATED",
	}
	violations := [][]string{}
	for _, each := range failure.Violations {
		violations = append(violations, []string{each.Field, each.Description})
	}
	answer := fields{
		"reason": failure.Reason, "code": names[failure.Code], "message": failure.Message, "trace_id": failure.TraceID,
		"request_id": failure.RequestID, "retryable": failure.Retryable, "metadata": failure.Metadata,
		"retry_after_ms": nil, "field_violations": violations, "last_good": checkpointOrNull(failure.LastGood),
	}
	if failure.RetryAfter > 0 {
		answer["retry_after_ms"] = failure.RetryAfter.Milliseconds()
	}
	return answer
}
