package holdfast

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	pb "holdfast.dev/go/holdfastpb"
)

// A connection whose streams are never opened.
type pendingConnection struct{}

func (pendingConnection) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	return nil
}

func (pendingConnection) NewStream(
	ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption,
) (grpc.ClientStream, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestACallDoesNotJoinAPipelineOfAnotherTokenThatUnsentCallsCouldOpen(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	pipelines := newPipelines(pendingConnection{})
	defer pipelines.running.Wait()
	defer pipelines.close()
	add := func(token string) *pipelinedCall {
		call := newPipelinedCall(metadata.AppendToOutgoingContext(ctx, "authorization", token),
			pb.CheckpointService_Load_FullMethodName, &pb.LoadRequest{})
		if !pipelines.add(call) {
			t.Fatal("no pipeline took the call")
		}
		return call
	}
	waiting, late := add("old"), add("new")
	pipelines.mu.Lock()
	defer pipelines.mu.Unlock()
	if !waiting.isRefused || late.isDone {
		t.Fatalf("the old call: %+v, the new one: %+v", waiting, late)
	}
	if current := pipelines.current; current.credentials != "new" || len(current.waiting) != 1 || current.waiting[0] != late {
		t.Fatalf("the pipeline of %q has %d calls", current.credentials, len(current.waiting))
	}
}

// A connection whose streams fail once it is released, whatever their contexts say.
type heldConnection struct {
	pendingConnection
	released chan struct{}
}

func (c heldConnection) NewStream(
	context.Context, *grpc.StreamDesc, string, ...grpc.CallOption,
) (grpc.ClientStream, error) {
	<-c.released
	return nil, context.Canceled
}

func TestAClosedConnectionOpensNoPipelineThatNobodyWaitsFor(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	connection := heldConnection{released: make(chan struct{})}
	pipelines := newPipelines(connection)
	call := newPipelinedCall(ctx, pb.CheckpointService_Load_FullMethodName, &pb.LoadRequest{})
	if !pipelines.add(call) {
		t.Fatal("no pipeline took the call")
	}
	pipelines.close()
	pipelines.mu.Lock()
	pipelines.retire(pipelines.current)
	open, isRefused := len(pipelines.open), call.isRefused
	pipelines.mu.Unlock()
	close(connection.released)
	pipelines.running.Wait()
	if open != 1 || !isRefused {
		t.Fatalf("%d pipelines were open, and the call was refused: %v", open, isRefused)
	}
}
