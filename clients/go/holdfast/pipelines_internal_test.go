package holdfast

import (
	"context"
	"sync"
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

func TestAClosedConnectionOpensNoPipelineThatNobodyWaitsFor(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 300 {
		pipelines := newPipelines(pendingConnection{})
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				pipelines.add(newPipelinedCall(ctx, pb.CheckpointService_Load_FullMethodName, &pb.LoadRequest{}))
			})
		}
		pipelines.close()
		pipelines.running.Wait()
		pipelines.mu.Lock()
		open := len(pipelines.open)
		pipelines.mu.Unlock()
		callers.Wait()
		if open != 0 {
			t.Fatalf("%d pipelines are open", open)
		}
	}
}
