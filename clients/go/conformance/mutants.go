package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"holdfast.dev/go/holdfast"
	pb "holdfast.dev/go/holdfastpb"
)

// The ways in which this driver can behave wrongly. Those that are not in this file are options of the client: see
// `options`, `policy` and `target`.
var mutants = []string{
	"always_falls_back", "believes_answers", "drops_accepted_formats", "drops_attempt", "drops_deadline", "drops_epoch",
	"drops_expected_revision", "drops_heads", "drops_stamp", "drops_token", "drops_traceparent", "first_address_only",
	"first_attempt_always", "forgets_ranges", "forgets_upload", "ignores_budget", "ignores_finish", "ignores_retry_info",
	"ignores_tls", "never_retries", "new_request_id_per_attempt", "reads_one_page", "receives_4_mib", "renews_deadline",
	"repairs_digests", "retries_final_errors", "reuses_request_id", "reuses_writer_request_id", "rounds_int64",
	"stops_at_empty_page", "strips_details", "trusts_included",
}

// Returns options that put a mutant between the client and its connection.
func mutated(mutant string, timeout time.Duration) []holdfast.Option {
	if mutant == "" {
		return nil
	}
	return []holdfast.Option{holdfast.WithWrapper(func(calls grpc.ClientConnInterface) grpc.ClientConnInterface {
		return &mutatedCalls{calls, mutant, timeout}
	})}
}

// Calls as a mutant changes them.
type mutatedCalls struct {
	grpc.ClientConnInterface
	mutant  string
	timeout time.Duration
}

func (m *mutatedCalls) Invoke(
	ctx context.Context, method string, request, response any, options ...grpc.CallOption,
) error {
	ctx, cancel := mutatedContext(ctx, m.mutant, m.timeout)
	defer cancel()
	sent := mutatedRequest(m.mutant, request)
	err := m.ClientConnInterface.Invoke(ctx, method, sent, response, options...)
	if err != nil && m.mutant == "retries_final_errors" && status.Code(err) != codes.Unavailable {
		err = m.ClientConnInterface.Invoke(ctx, method, sent, response, options...)
	}
	if err != nil {
		return mutatedError(m.mutant, err)
	}
	return mutateAnswer(m.mutant, sent, response.(proto.Message))
}

func (m *mutatedCalls) NewStream(
	ctx context.Context, description *grpc.StreamDesc, method string, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	ctx, cancel := mutatedContext(ctx, m.mutant, m.timeout)
	stream, err := m.ClientConnInterface.NewStream(ctx, description, method, options...)
	if err != nil {
		cancel()
		return nil, mutatedError(m.mutant, err)
	}
	return &mutatedStream{ClientStream: stream, mutant: m.mutant, cancel: cancel}, nil
}

func mutatedContext(ctx context.Context, mutant string, timeout time.Duration) (context.Context, context.CancelFunc) {
	dropped := map[string]string{
		"drops_traceparent": "traceparent", "drops_token": "authorization", "forgets_upload": "holdfast-resume",
	}
	if name := dropped[mutant]; name != "" {
		sent, _ := metadata.FromOutgoingContext(ctx)
		sent.Delete(name)
		ctx = metadata.NewOutgoingContext(ctx, sent)
	}
	switch mutant {
	case "drops_deadline":
		return context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
	case "renews_deadline":
		if timeout == 0 {
			timeout = 10 * time.Second
		}
		return context.WithTimeout(context.WithoutCancel(ctx), timeout)
	}
	return ctx, func() {}
}

// Returns a request as a mutant changes it.
func mutatedRequest(mutant string, request any) proto.Message {
	changed := proto.Clone(request.(proto.Message))
	mutate(mutant, changed.ProtoReflect())
	if header := field(changed.ProtoReflect(), "header"); header != nil && changed.ProtoReflect().Has(header) {
		mutate(mutant, changed.ProtoReflect().Mutable(header).Message())
	}
	return changed
}

func field(message protoreflect.Message, name string) protoreflect.FieldDescriptor {
	return message.Descriptor().Fields().ByName(protoreflect.Name(name))
}

func mutate(mutant string, request protoreflect.Message) {
	set := func(name string, value any) {
		if found := field(request, name); found != nil {
			request.Set(found, protoreflect.ValueOf(value))
		}
	}
	cleared := map[string]string{
		"drops_accepted_formats": "accepted_formats", "drops_attempt": "attempt", "drops_epoch": "epoch",
		"drops_expected_revision": "expected_revision", "drops_stamp": "observed_stamp", "forgets_ranges": "ranges",
	}
	if found := field(request, cleared[mutant]); found != nil {
		request.Clear(found)
	}
	switch mutant {
	case "always_falls_back":
		set("fallback", protoreflect.EnumNumber(pb.Fallback_FALLBACK_LAST_GOOD))
	case "first_attempt_always":
		set("attempt", (&pb.Attempt{Number: 1}).ProtoReflect())
	case "new_request_id_per_attempt":
		set("request_id", fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()))
	case "reuses_request_id":
		set("request_id", "same")
	case "reuses_writer_request_id":
		if strings.Contains(string(request.Descriptor().Name()), "AcquireWriter") {
			set("request_id", "same")
		}
	case "rounds_int64":
		round(request, "epoch")
		round(request, "expected_revision")
	}
}

func round(message protoreflect.Message, name string) {
	if found := field(message, name); found != nil && message.Has(found) {
		message.Set(found, protoreflect.ValueOfInt64(int64(float64(message.Get(found).Int()))))
	}
}

func mutatedError(mutant string, err error) error {
	found := status.Convert(err)
	switch mutant {
	case "strips_details":
		return status.Error(found.Code(), found.Message())
	case "drops_heads":
		changed := found.Proto()
		for index, detail := range changed.GetDetails() {
			info := &errdetails.ErrorInfo{}
			if detail.UnmarshalTo(info) == nil {
				delete(info.Metadata, "head_revision")
				delete(info.Metadata, "head_digest")
				packed, err := anypb.New(info)
				if err != nil {
					return err
				}
				changed.Details[index] = packed
			}
		}
		return status.ErrorProto(changed)
	case "ignores_retry_info":
		changed := found.Proto()
		kept := changed.Details[:0]
		for _, detail := range changed.Details {
			if !detail.MessageIs(&errdetails.RetryInfo{}) {
				kept = append(kept, detail)
			}
		}
		changed.Details = kept
		return status.ErrorProto(changed)
	}
	return err
}

// Changes the answer of a call, or refuses it.
func mutateAnswer(mutant string, request, answer proto.Message) error {
	response := answer.ProtoReflect()
	switch mutant {
	case "receives_4_mib":
		if proto.Size(answer) > 4<<20 {
			return status.Error(codes.ResourceExhausted, "a message larger than 4 MiB")
		}
	case "drops_heads":
		if found := field(response, "head"); found != nil {
			response.Clear(found)
		}
	case "trusts_included":
		for _, name := range []string{"payload_included", "records_included"} {
			if found := field(response, name); found != nil {
				response.Set(found, protoreflect.ValueOfBool(true))
			}
		}
	case "repairs_digests":
		if loaded, ok := answer.(*pb.LoadResponse); ok {
			data := map[string][]byte{}
			for _, part := range loaded.GetParts() {
				data[part.GetName()] = part.GetData()
			}
			for _, part := range loaded.GetCheckpoint().GetParts() {
				digest := sha256.Sum256(data[part.GetName()])
				part.Sha256 = digest[:]
				part.Crc32C = crc32.Checksum(data[part.GetName()], crc32.MakeTable(crc32.Castagnoli))
			}
		}
	case "believes_answers":
		believe(request, answer)
	case "rounds_int64":
		round(response, "epoch")
	case "reads_one_page", "stops_at_empty_page":
		items := 0
		response.Range(func(found protoreflect.FieldDescriptor, value protoreflect.Value) bool {
			if found.IsList() {
				items += value.List().Len()
			}
			return true
		})
		if token := field(response, "next_page_token"); token != nil && (items == 0 || mutant == "reads_one_page") {
			response.Clear(token)
		}
	}
	return nil
}

// Names what was requested in the checkpoint of an answer.
func believe(request, answer proto.Message) {
	answered, ok := answer.(interface{ GetCheckpoint() *pb.Checkpoint })
	if !ok || answered.GetCheckpoint() == nil {
		return
	}
	if save, ok := request.(*pb.SaveRequest); ok {
		request = save.GetHeader()
	}
	wanted := request.(interface {
		GetNamespace() string
		GetWorkflowId() string
		GetCheckpointId() string
	})
	found := answered.GetCheckpoint()
	found.Namespace, found.WorkflowId = wanted.GetNamespace(), wanted.GetWorkflowId()
	if wanted.GetCheckpointId() != "" {
		found.CheckpointId = wanted.GetCheckpointId()
	}
}

// A stream as a mutant changes it.
type mutatedStream struct {
	grpc.ClientStream
	mutant     string
	cancel     context.CancelFunc
	size       int64
	isFinished bool
}

func (m *mutatedStream) SendMsg(message any) error {
	if save, ok := message.(*pb.SaveStreamRequest); !ok || save.GetHeader() != nil {
		message = mutatedRequest(m.mutant, message)
	}
	return m.ClientStream.SendMsg(message)
}

func (m *mutatedStream) RecvMsg(message any) error {
	err := m.ClientStream.RecvMsg(message)
	loaded, isLoad := message.(*pb.LoadStreamResponse)
	if err != nil {
		m.cancel()
		if m.mutant == "ignores_finish" && isLoad && errors.Is(err, io.EOF) && !m.isFinished {
			m.isFinished = true
			finish := &pb.LoadStreamFinish{SizeBytes: m.size}
			loaded.Reset()
			loaded.Message = &pb.LoadStreamResponse_Finish{Finish: finish}
			return nil
		}
		if errors.Is(err, io.EOF) {
			return err
		}
		return mutatedError(m.mutant, err)
	}
	if isLoad {
		m.size += int64(len(loaded.GetChunk().GetData()))
		m.isFinished = m.isFinished || loaded.GetFinish() != nil
	}
	return nil
}
