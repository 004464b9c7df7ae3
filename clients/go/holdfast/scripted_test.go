package holdfast_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"holdfast.dev/go/holdfast"
	pb "holdfast.dev/go/holdfastpb"
)

// A server that does what a test says. It notes the metadata and attempts of each call.
type scripted struct {
	pb.UnimplementedCheckpointServiceServer
	load       func(attempt int, request *pb.LoadRequest) (*pb.LoadResponse, error)
	save       func(attempt int, request *pb.SaveRequest) (*pb.SaveResponse, error)
	loadStream func(attempt int, request *pb.LoadStreamRequest, stream grpc.ServerStreamingServer[pb.LoadStreamResponse]) error
	saveStream func(attempt int, stream grpc.ClientStreamingServer[pb.SaveStreamRequest, pb.SaveStreamResponse]) error
	list       func(request *pb.ListRequest) *pb.ListResponse

	deleteWorkflows func(request *pb.DeleteWorkflowsRequest) *pb.DeleteWorkflowsResponse

	mu       sync.Mutex
	metadata []metadata.MD
	calls    atomic.Int32
}

func (s *scripted) note(ctx context.Context) int {
	found, _ := metadata.FromIncomingContext(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metadata = append(s.metadata, found)
	return int(s.calls.Add(1))
}

func (s *scripted) Load(ctx context.Context, request *pb.LoadRequest) (*pb.LoadResponse, error) {
	return s.load(s.note(ctx), request)
}

func (s *scripted) Save(ctx context.Context, request *pb.SaveRequest) (*pb.SaveResponse, error) {
	return s.save(s.note(ctx), request)
}

func (s *scripted) List(_ context.Context, request *pb.ListRequest) (*pb.ListResponse, error) {
	return s.list(request), nil
}

func (s *scripted) DeleteWorkflows(
	_ context.Context, request *pb.DeleteWorkflowsRequest,
) (*pb.DeleteWorkflowsResponse, error) {
	return s.deleteWorkflows(request), nil
}

func (s *scripted) LoadStream(request *pb.LoadStreamRequest, stream grpc.ServerStreamingServer[pb.LoadStreamResponse]) error {
	return s.loadStream(s.note(stream.Context()), request, stream)
}

func (s *scripted) SaveStream(stream grpc.ClientStreamingServer[pb.SaveStreamRequest, pb.SaveStreamResponse]) error {
	return s.saveStream(s.note(stream.Context()), stream)
}

func (s *scripted) start(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterCheckpointServiceServer(server, s)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	return listener.Addr().String()
}

func failed(code codes.Code, reason string, details ...protoadapt.MessageV1) error {
	found, err := status.New(code, "as the test says").WithDetails(
		append(details, &errdetails.ErrorInfo{Domain: "holdfast.dev", Reason: reason})...)
	if err != nil {
		panic(err)
	}
	return found.Err()
}

func checkpoint(data []byte) *pb.Checkpoint {
	digest := sha256.Sum256(data)
	return &pb.Checkpoint{
		Namespace: "n", WorkflowId: "w", CheckpointId: "c", Revision: 3, SizeBytes: int64(len(data)),
		Format: &pb.Format{Name: "test", Version: 1},
		Parts:  []*pb.PartInfo{{SizeBytes: int64(len(data)), Sha256: digest[:]}},
	}
}

func saved(request *pb.SaveRequest) *pb.SaveResponse {
	return &pb.SaveResponse{Checkpoint: checkpoint(request.GetParts()[0].GetData())}
}

var quick = holdfast.WithRetryPolicy(holdfast.RetryPolicy{
	InitialBackoff: time.Millisecond, MaxBackoff: time.Millisecond, BurstRetries: 10, RetriesPerSecond: 1000,
})

func TestARetryHasTheSameRequestIDItsNumberAndTheElapsedTime(t *testing.T) {
	ids := map[string]bool{}
	server := &scripted{save: func(attempt int, request *pb.SaveRequest) (*pb.SaveResponse, error) {
		ids[request.GetHeader().GetRequestId()] = true
		if int(request.GetHeader().GetAttempt().GetNumber()) != attempt {
			return nil, failed(codes.Internal, "INTERNAL")
		}
		switch attempt {
		case 1:
			return nil, failed(codes.Unavailable, "COMMIT_UNKNOWN")
		case 2:
			return nil, status.Error(codes.Unavailable, "a proxy")
		case 3:
			return nil, failed(codes.ResourceExhausted, "OVERLOADED", &errdetails.RetryInfo{RetryDelay: durationpb.New(30 * time.Millisecond)})
		}
		if request.GetHeader().GetAttempt().GetElapsed().AsDuration() < 30*time.Millisecond {
			return nil, failed(codes.Internal, "INTERNAL")
		}
		return saved(request), nil
	}}
	client := connect(t, server.start(t), quick)
	must[*holdfast.Checkpoint](t)(client.Save(t.Context(), "n", "w", holdfast.Bytes([]byte("x")), format, holdfast.SaveOptions{}))
	if len(ids) != 1 || server.calls.Load() != 4 {
		t.Fatalf("%d calls with request ids %v", server.calls.Load(), ids)
	}
	traces := map[string]bool{}
	for _, each := range server.metadata {
		traces[each.Get("traceparent")[0][:35]] = true
	}
	if len(traces) != 1 {
		t.Fatalf("traces %v, expected one", traces)
	}
}

func TestAnErrorThatIsNotRetryableEndsTheCallAtOnce(t *testing.T) {
	for reason, code := range map[string]codes.Code{"WRITER_FENCED": codes.FailedPrecondition, "QUOTA_EXCEEDED": codes.ResourceExhausted, "NEW": codes.DataLoss} {
		server := &scripted{save: func(int, *pb.SaveRequest) (*pb.SaveResponse, error) { return nil, failed(code, reason) }}
		client := connect(t, server.start(t), quick)
		_, err := client.Save(t.Context(), "n", "w", holdfast.Bytes(nil), format, holdfast.SaveOptions{})
		wants(t, err, holdfast.Reason(reason))
		if reason == "NEW" {
			wants(t, err, holdfast.ErrCheckpointCorrupted)
		}
		if server.calls.Load() != 1 {
			t.Fatalf("%d calls after %s", server.calls.Load(), reason)
		}
	}
}

func TestRetriesEndWithTheBudgetTheDeadlineTheContextAndTheClient(t *testing.T) {
	server := &scripted{load: func(int, *pb.LoadRequest) (*pb.LoadResponse, error) {
		return nil, failed(codes.Unavailable, "STORE_UNAVAILABLE")
	}}
	target := server.start(t)
	policy := holdfast.DefaultRetryPolicy()
	policy.InitialBackoff, policy.BurstRetries, policy.RetriesPerSecond = time.Millisecond, 3, 0
	client := connect(t, target, holdfast.WithRetryPolicy(policy))
	_, err := client.Load(t.Context(), "n", "w", holdfast.LoadOptions{})
	if failure := wants(t, err, holdfast.ErrStoreUnavailable); failure.Metadata["retries"] != "off" || server.calls.Load() != 4 {
		t.Fatalf("%+v after %d calls", failure, server.calls.Load())
	}
	client = connect(t, target, quick, holdfast.WithTimeout(300*time.Millisecond))
	_, err = client.Load(t.Context(), "n", "w", holdfast.LoadOptions{})
	if !errors.Is(err, holdfast.ErrStoreUnavailable) && !errors.Is(err, holdfast.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	client = connect(t, target)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = client.Load(ctx, "n", "w", holdfast.LoadOptions{})
	if wants(t, err, holdfast.ErrCancelled); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = client.Close() })
	_, err = client.Load(t.Context(), "n", "w", holdfast.LoadOptions{})
	wants(t, err, holdfast.ErrClientClosed)
}

func TestADeadlineEndsACallThatTheServerDoesNotAnswer(t *testing.T) {
	released := make(chan struct{})
	server := &scripted{load: func(int, *pb.LoadRequest) (*pb.LoadResponse, error) {
		<-released
		return nil, failed(codes.Unavailable, "SHUTTING_DOWN")
	}}
	client := connect(t, server.start(t))
	defer close(released)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := client.Load(ctx, "n", "w", holdfast.LoadOptions{})
	if wants(t, err, holdfast.ErrDeadlineExceeded); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestATokenThatIsRefusedIsReplacedOnce(t *testing.T) {
	var given atomic.Int32
	source := func(context.Context) (string, error) { return "token" + strconv.Itoa(int(given.Add(1))), nil }
	server := &scripted{}
	server.save = func(attempt int, request *pb.SaveRequest) (*pb.SaveResponse, error) {
		if server.metadata[attempt-1].Get("authorization")[0] != "Bearer token2" {
			return nil, failed(codes.Unauthenticated, "UNAUTHENTICATED")
		}
		return saved(request), nil
	}
	target := server.start(t)
	client := connect(t, target, holdfast.WithTokenSource(source))
	must[*holdfast.Checkpoint](t)(client.Save(t.Context(), "n", "w", holdfast.Bytes(nil), format, holdfast.SaveOptions{}))
	must[*holdfast.Checkpoint](t)(client.Save(t.Context(), "n", "w", holdfast.Bytes(nil), format, holdfast.SaveOptions{}))
	if given.Load() != 2 || server.calls.Load() != 3 {
		t.Fatalf("%d tokens for %d calls", given.Load(), server.calls.Load())
	}
	client = connect(t, target, holdfast.WithToken("wrong"))
	_, err := client.Save(t.Context(), "n", "w", holdfast.Bytes(nil), format, holdfast.SaveOptions{})
	wants(t, err, holdfast.ErrUnauthenticated)
	_, err = holdfast.NewClient("example.com:7433", holdfast.WithToken("secret"))
	wants(t, err, holdfast.ErrInvalidRequest)
}

func TestTargetsThatCannotBeUsedAreRefused(t *testing.T) {
	for _, target := range []string{"", "host", "host:0", "host:http", "file:///folder", "ftp://host:21", "a:1,b", "a b:1"} {
		_, err := holdfast.NewClient(target)
		wants(t, err, holdfast.ErrInvalidRequest)
	}
}

func TestTheNextAddressAnswersIfTheFirstIsDown(t *testing.T) {
	server := &scripted{save: func(_ int, request *pb.SaveRequest) (*pb.SaveResponse, error) { return saved(request), nil }}
	client := connect(t, "127.0.0.1:9,"+server.start(t))
	must[*holdfast.Checkpoint](t)(client.Save(t.Context(), "n", "w", holdfast.Bytes(nil), format, holdfast.SaveOptions{}))
}

// Sends a payload in chunks of 1 MiB from an offset; calls `at` before each.
func send(stream grpc.ServerStreamingServer[pb.LoadStreamResponse], found *pb.Checkpoint, data []byte, offset int, at func(offset int) error) error {
	header := &pb.LoadStreamHeader{Checkpoint: found}
	if err := stream.Send(&pb.LoadStreamResponse{Message: &pb.LoadStreamResponse_Header{Header: header}}); err != nil {
		return err
	}
	first := offset
	for ; offset < len(data); offset += 1 << 20 {
		if err := at(offset); err != nil {
			return err
		}
		piece := data[offset:min(offset+1<<20, len(data))]
		chunk := &pb.Chunk{Offset: int64(offset), Data: piece, Crc32C: crc32.Checksum(piece, crc32.MakeTable(crc32.Castagnoli))}
		if err := stream.Send(&pb.LoadStreamResponse{Message: &pb.LoadStreamResponse_Chunk{Chunk: chunk}}); err != nil {
			return err
		}
	}
	finish := &pb.LoadStreamFinish{SizeBytes: int64(len(data) - first)}
	return stream.Send(&pb.LoadStreamResponse{Message: &pb.LoadStreamResponse_Finish{Finish: finish}})
}

func TestABrokenDownloadGoesOnWhereItBroke(t *testing.T) {
	data := random(5<<20 + 7)
	found := checkpoint(data)
	server := &scripted{
		load: func(int, *pb.LoadRequest) (*pb.LoadResponse, error) { return &pb.LoadResponse{Checkpoint: found}, nil },
		loadStream: func(attempt int, request *pb.LoadStreamRequest, stream grpc.ServerStreamingServer[pb.LoadStreamResponse]) error {
			offset := 0
			if attempt > 2 {
				if request.GetCheckpointId() != "c" || len(request.GetRanges()) != 1 {
					return failed(codes.Internal, "INTERNAL")
				}
				offset = int(request.GetRanges()[0].GetOffset())
			}
			return send(stream, found, data, offset, func(at int) error {
				if attempt < 4 && at-offset >= 2<<20 {
					return status.Error(codes.Unavailable, "cut")
				}
				return nil
			})
		},
	}
	client := connect(t, server.start(t), quick)
	loaded := must[*holdfast.Loaded](t)(client.Load(t.Context(), "n", "w", holdfast.LoadOptions{}))
	if !bytes.Equal(loaded.Data(), data) || server.calls.Load() != 4 {
		t.Fatalf("wrong data after %d calls", server.calls.Load())
	}
}

func TestADownloadThatIsNotWholeIsNeverReturned(t *testing.T) {
	data := random(2 << 20)
	other := checkpoint(random(3 << 20))
	other.Parts[0].SizeBytes, other.SizeBytes = 2<<20, 2<<20
	for name, each := range map[string]struct {
		found  *pb.Checkpoint
		send   func(grpc.ServerStreamingServer[pb.LoadStreamResponse], *pb.Checkpoint) error
		reason holdfast.Reason
	}{
		"without finish": {checkpoint(data), func(stream grpc.ServerStreamingServer[pb.LoadStreamResponse], found *pb.Checkpoint) error {
			header := &pb.LoadStreamHeader{Checkpoint: found}
			return stream.Send(&pb.LoadStreamResponse{Message: &pb.LoadStreamResponse_Header{Header: header}})
		}, holdfast.ErrServerUnavailable},
		"with another digest": {other, func(stream grpc.ServerStreamingServer[pb.LoadStreamResponse], found *pb.Checkpoint) error {
			return send(stream, found, data, 0, func(int) error { return nil })
		}, holdfast.ErrCheckpointCorrupted},
	} {
		server := &scripted{
			load: func(int, *pb.LoadRequest) (*pb.LoadResponse, error) {
				return &pb.LoadResponse{Checkpoint: each.found}, nil
			},
			loadStream: func(_ int, _ *pb.LoadStreamRequest, stream grpc.ServerStreamingServer[pb.LoadStreamResponse]) error {
				return each.send(stream, each.found)
			},
		}
		policy := holdfast.RetryPolicy{BurstRetries: 3}
		client := connect(t, server.start(t), holdfast.WithRetryPolicy(policy))
		_, err := client.LoadTo(t.Context(), "n", "w", io.Discard, holdfast.LoadOptions{})
		if !errors.Is(err, each.reason) {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func TestAnswersAboutSomethingElseAreRefused(t *testing.T) {
	server := &scripted{
		load: func(_ int, request *pb.LoadRequest) (*pb.LoadResponse, error) {
			found := checkpoint([]byte("x"))
			if request.GetCheckpointId() != "" {
				found.Parts = append(found.Parts, found.Parts[0])
			}
			return &pb.LoadResponse{Checkpoint: found, PayloadIncluded: true, Parts: []*pb.Part{{Data: []byte("y")}}}, nil
		},
		list: func(request *pb.ListRequest) *pb.ListResponse {
			return &pb.ListResponse{NextPageToken: "again"}
		},
	}
	client := connect(t, server.start(t))
	_, err := client.Load(t.Context(), "n", "other", holdfast.LoadOptions{})
	wants(t, err, holdfast.ErrInternal)
	_, err = client.Load(t.Context(), "n", "w", holdfast.LoadOptions{})
	wants(t, err, holdfast.ErrCheckpointCorrupted)
	_, err = client.Load(t.Context(), "n", "w", holdfast.LoadOptions{CheckpointID: "c"})
	wants(t, err, holdfast.ErrCheckpointCorrupted)
	for _, err := range client.List(t.Context(), "n", "w", holdfast.ListOptions{}) {
		wants(t, err, holdfast.ErrInternal)
	}
}

func TestABrokenUploadGoesOnWhereTheServerHasIt(t *testing.T) {
	data := random(8<<20 + 3)
	var received []byte
	server := &scripted{}
	server.saveStream = func(attempt int, stream grpc.ClientStreamingServer[pb.SaveStreamRequest, pb.SaveStreamResponse]) error {
		resumes := server.metadata[attempt-1].Get("holdfast-resume")
		if len(resumes) > 0 {
			// In the middle of a chunk.
			received = received[:len(received)-7]
			at := metadata.Pairs("holdfast-received", "0:"+strconv.Itoa(len(received)))
			if err := stream.SendHeader(at); err != nil {
				return err
			}
		}
		for count := 0; ; count++ {
			message, err := stream.Recv()
			if err != nil {
				return err
			}
			if chunk := message.GetChunk(); chunk != nil {
				if int(chunk.GetOffset()) != len(received) {
					return failed(codes.InvalidArgument, "INVALID_REQUEST")
				}
				received = append(received, chunk.GetData()...)
			}
			if count == 3 && attempt < 3 {
				return status.Error(codes.Unavailable, "cut")
			}
			if finish := message.GetFinish(); finish != nil {
				return stream.SendAndClose(&pb.SaveStreamResponse{Checkpoint: checkpoint(received)})
			}
		}
	}
	client := connect(t, server.start(t), quick)
	payload := holdfast.File(bytes.NewReader(data))
	must[*holdfast.Checkpoint](t)(client.Save(t.Context(), "n", "w", payload, format, holdfast.SaveOptions{}))
	if !bytes.Equal(received, data) || server.calls.Load() != 3 {
		t.Fatalf("%d of %d bytes in %d streams", len(received), len(data), server.calls.Load())
	}
}

func TestALogThatWasRolledBackIsRefused(t *testing.T) {
	digest := bytes.Repeat([]byte{1}, 32)
	head := &pb.Head{Revision: 5, Digest: digest}
	var failure error
	server := &scripted{load: func(int, *pb.LoadRequest) (*pb.LoadResponse, error) {
		found := checkpoint([]byte("x"))
		return &pb.LoadResponse{Checkpoint: found, PayloadIncluded: true, Parts: []*pb.Part{{Data: []byte("x")}}, Head: head}, failure
	}}
	server.save = func(_ int, request *pb.SaveRequest) (*pb.SaveResponse, error) {
		return &pb.SaveResponse{Checkpoint: checkpoint(nil), Replayed: true, Head: head}, nil
	}
	target := server.start(t)
	client := connect(t, target)
	load := func() error {
		_, err := client.Load(t.Context(), "n", "w", holdfast.LoadOptions{})
		return err
	}
	must[struct{}](t)(struct{}{}, load())
	kept, _ := client.Head("n", "w")
	for name, older := range map[string]*pb.Head{
		"older": {Revision: 4, Digest: digest}, "none": {}, "another": {Revision: 5, Digest: bytes.Repeat([]byte{2}, 32)},
	} {
		head = older
		if found := wants(t, load(), holdfast.ErrRolledBack); found.Metadata["seen_revision"] != "5" || found.Retryable {
			t.Fatalf("%s: %+v", name, found)
		}
	}
	head = &pb.Head{Revision: 4, Digest: digest}
	// The head of a replay is the entry of the earlier attempt.
	must[*holdfast.Checkpoint](t)(client.Save(t.Context(), "n", "w", holdfast.Bytes(nil), format, holdfast.SaveOptions{}))
	failure = failed(codes.NotFound, "CHECKPOINT_NOT_FOUND")
	wants(t, load(), holdfast.ErrCheckpointNotFound)
	failure = nil
	client.ForgetHead("n", "w")
	must[struct{}](t)(struct{}{}, load())

	client = connect(t, target)
	again := must[holdfast.Head](t)(holdfast.ParseHead(kept.String()))
	client.RememberHead("n", "w", again)
	wants(t, load(), holdfast.ErrRolledBack)
	_, err := holdfast.ParseHead("5:abc")
	wants(t, err, holdfast.ErrInvalidRequest)
}

func TestALargeCheckpointWithRecordsSaysThatItIsAnOlderOne(t *testing.T) {
	data := random(2 << 20)
	found := checkpoint(data)
	server := &scripted{
		load: func(int, *pb.LoadRequest) (*pb.LoadResponse, error) {
			skipped := []*pb.SkippedCheckpoint{{CheckpointId: "newer", Revision: 4, Reason: "CHECKPOINT_CORRUPTED"}}
			return &pb.LoadResponse{Checkpoint: found, FellBack: true, Skipped: skipped, RecordsIncluded: true}, nil
		},
		loadStream: func(_ int, request *pb.LoadStreamRequest, stream grpc.ServerStreamingServer[pb.LoadStreamResponse]) error {
			if request.GetCheckpointId() != "c" {
				return failed(codes.Internal, "INTERNAL")
			}
			return send(stream, found, data, 0, func(int) error { return nil })
		},
	}
	client := connect(t, server.start(t))
	options := holdfast.LoadOptions{Fallback: true, Records: true}
	loaded := must[*holdfast.Loaded](t)(client.Load(t.Context(), "n", "w", options))
	if !loaded.FellBack || len(loaded.Skipped) != 1 || loaded.Skipped[0].CheckpointID != "newer" {
		t.Fatalf("%v %v", loaded.FellBack, loaded.Skipped)
	}
}

func TestAServerThatClosesConnectionsAtOnceIsSuspectedToExpectTLS(t *testing.T) {
	listener := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for connection, err := listener.Accept(); err == nil; connection, err = listener.Accept() {
			// The client's preface and settings, after which a server of TLS gives up.
			_, _ = io.ReadAtLeast(connection, make([]byte, 1<<10), 39)
			_ = connection.Close()
		}
	})
	defer accepting.Wait()
	defer listener.Close()
	client := connect(t, listener.Addr().String(), holdfast.WithRetryPolicy(holdfast.RetryPolicy{}))
	_, err := client.Load(t.Context(), "n", "w", holdfast.LoadOptions{})
	if failure := wants(t, err, holdfast.ErrServerUnavailable); !strings.Contains(failure.Message, "may expect TLS") {
		t.Fatal(failure)
	}
}
