package holdfast

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "holdfast.dev/go/holdfastpb"
)

const (
	// A server answers a new pipeline at once. If it does not, a proxy that buffers streams may be between.
	firstAnswerTime = 3 * time.Second
	// The time without calls after which a pipeline is closed, at most twice that. Until then gRPC pings the server.
	idleTime = 5 * time.Second
	// How long a connection uses unary calls before it opens a pipeline again.
	unaryTime = time.Minute
)

// A connection whose unary calls go through pipelines where the server takes them: many calls in one message cost both
// sides less than a stream for each. One pipeline takes calls; older ones wait for their last answers.
type pipelines struct {
	grpc.ClientConnInterface
	context context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu         sync.Mutex
	isClosed   bool
	lastID     int64
	unaryUntil time.Time
	current    *pipeline
	open       map[*pipeline]struct{}
}

func newPipelines(connection grpc.ClientConnInterface) *pipelines {
	ctx, cancel := context.WithCancel(context.Background())
	return &pipelines{ClientConnInterface: connection, context: ctx, cancel: cancel, open: map[*pipeline]struct{}{}}
}

// Invoke makes a unary call, in a pipeline if possible.
func (p *pipelines) Invoke(ctx context.Context, method string, request, reply any, options ...grpc.CallOption) error {
	call := newPipelinedCall(ctx, method, request)
	if call == nil || !p.add(call) {
		return p.ClientConnInterface.Invoke(ctx, method, request, reply, options...)
	}
	select {
	case <-call.done:
	case <-ctx.Done():
		p.forget(call)
		return status.FromContextError(ctx.Err()).Err()
	}
	if call.isRefused {
		return p.ClientConnInterface.Invoke(ctx, method, request, reply, options...)
	}
	if call.err == nil {
		proto.Merge(reply.(proto.Message), call.response)
	}
	return call.err
}

// Returns a call; nil if no pipeline can carry it.
func newPipelinedCall(ctx context.Context, method string, request any) *pipelinedCall {
	field, isCarried := pipelined[method]
	deadline, hasDeadline := ctx.Deadline()
	if !isCarried || !hasDeadline {
		return nil
	}
	call := &pipelinedCall{field: field, deadline: deadline, done: make(chan struct{})}
	sent, _ := metadata.FromOutgoingContext(ctx)
	for key, values := range sent {
		switch key {
		case "traceparent":
			call.traceparent = values[0]
		case "tracestate":
			call.tracestate = values[0]
		case "authorization":
			call.credentials = values[0]
		default:
			return nil
		}
	}
	// Serialized here, so that a request that cannot be serialized fails alone.
	data, err := proto.Marshal(request.(proto.Message))
	if err != nil || len(data) > largestPipelined {
		return nil
	}
	call.data, call.size = data, len(data)
	return call
}

// Lets a call wait for the next message. Opens a pipeline if there is none. False if pipelines are not allowed now.
func (p *pipelines) add(call *pipelinedCall) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addLocked(call)
}

// Ends all pipelines, and opens no other. `running` can be waited for then.
func (p *pipelines) close() {
	p.mu.Lock()
	p.isClosed = true
	p.mu.Unlock()
	p.cancel()
}

func (p *pipelines) addLocked(call *pipelinedCall) bool {
	if p.isClosed || time.Now().Before(p.unaryUntil) {
		return false
	}
	if p.current != nil && p.current.credentials != call.credentials {
		// What it has not sent has its credentials, not those of the next pipeline.
		for _, unsent := range p.closed(p.current) {
			unsent.refuse()
		}
	}
	if p.current == nil {
		opened := newPipeline(call.credentials)
		p.current = opened
		p.open[opened] = struct{}{}
		p.running.Go(func() { p.run(opened) })
	}
	p.current.add(call)
	return true
}

// Cancels a call whose caller no longer waits.
func (p *pipelines) forget(call *pipelinedCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	call.isDone = true
	for pipeline := range p.open {
		pipeline.cancel(call)
	}
}

// Lets the next pipeline take what one has not sent.
func (p *pipelines) retire(retired *pipeline) {
	for _, call := range p.closed(retired) {
		if !call.isDone && !p.addLocked(call) {
			call.refuse()
		}
	}
}

// Closes a pipeline for sending. Returns what it has not sent.
func (p *pipelines) closed(retired *pipeline) []*pipelinedCall {
	if p.current == retired {
		p.current = nil
	}
	return retired.retire()
}

// Reads the answers of a pipeline to its end, while another goroutine sends its messages.
func (p *pipelines) run(carried *pipeline) {
	ctx, cancel := context.WithCancel(p.context)
	defer cancel()
	if carried.credentials != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", carried.credentials)
	}
	description := &grpc.StreamDesc{StreamName: "Pipeline", ClientStreams: true, ServerStreams: true}
	stream, err := p.NewStream(ctx, description, pb.CheckpointService_Pipeline_FullMethodName, grpc.ForceCodec(pipelineCodec{}))
	if err == nil {
		p.running.Go(func() { p.write(ctx, cancel, carried, stream) })
	}
	for err == nil {
		var response pb.PipelineResponse
		if err = stream.RecvMsg(&response); err == nil {
			p.mu.Lock()
			carried.received(&response)
			if response.GetGoingAway() != nil {
				p.retire(carried)
			}
			p.mu.Unlock()
		}
	}
	p.ended(carried, err)
}

func (p *pipelines) write(ctx context.Context, cancel context.CancelFunc, carried *pipeline, stream grpc.ClientStream) {
	idle := time.NewTicker(idleTime)
	defer idle.Stop()
	var firstAnswer <-chan time.Time
	for {
		// Callers whose answers came in one message send their next calls in one message: let them run first.
		runtime.Gosched()
		p.mu.Lock()
		message, hasMore := carried.message(&p.lastID)
		p.mu.Unlock()
		switch {
		case message != nil:
			if stream.SendMsg(message) != nil {
				// The reader learns why.
				return
			}
			p.mu.Lock()
			if !carried.hasSent {
				carried.hasSent = true
				firstAnswer = time.After(firstAnswerTime)
			}
			p.mu.Unlock()
			continue
		case !hasMore:
			if stream.CloseSend() != nil {
				cancel()
			}
			return
		}
		select {
		case <-carried.wake:
		case <-ctx.Done():
			return
		case <-firstAnswer:
			p.check(carried, func() bool { return !carried.hasAnswered }, true)
		case <-idle.C:
			p.check(carried, carried.isIdle, false)
		}
	}
}

// Closes a pipeline for sending if a condition holds, and uses unary calls for a while if that is a defect. A proxy that
// waits for the end of a stream passes it on then.
func (p *pipelines) check(carried *pipeline, condition func() bool, isDefect bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if carried.isRetired || !condition() {
		return
	}
	if isDefect {
		p.unaryUntil = time.Now().Add(unaryTime)
	}
	p.retire(carried)
}

// Decides the outcome of every open call of a pipeline after its stream ended.
func (p *pipelines) ended(carried *pipeline, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, carried)
	if p.current == carried {
		p.current = nil
	}
	calls := carried.end()
	if len(calls) == 0 {
		return
	}
	found := status.Convert(err)
	if errors.Is(err, io.EOF) {
		found = status.New(codes.Unavailable, "the stream ended")
	}
	code, hasDetails := found.Code(), len(found.Proto().GetDetails()) > 0
	isBroken := code == codes.Unavailable || code == codes.Canceled
	// A server or proxy refuses a pipeline before it starts any call. A server that refuses the token takes pipelines
	// with another one; a proxy may not.
	isRefusal := !carried.hasAnswered && !(code == codes.Unauthenticated && hasDetails)
	switch code {
	case codes.Unimplemented, codes.Unauthenticated, codes.PermissionDenied, codes.ResourceExhausted:
	default:
		isRefusal = isRefusal && !carried.hasSent && !isBroken
	}
	if isRefusal || (!isBroken && !hasDetails) {
		p.unaryUntil = time.Now().Add(unaryTime)
	}
	if !isBroken && !hasDetails {
		found = status.New(codes.Unavailable, fmt.Sprintf("the pipeline broke: %v: %s", code, found.Message()))
	}
	for _, call := range calls {
		if isRefusal && !call.isDone {
			call.refuse()
			continue
		}
		call.finish(nil, found.Err())
	}
}

// Sends bytes as they are, and reads messages.
type pipelineCodec struct{}

func (pipelineCodec) Marshal(message any) ([]byte, error) { return message.([]byte), nil }

func (pipelineCodec) Unmarshal(data []byte, message any) error {
	return proto.Unmarshal(data, message.(proto.Message))
}

func (pipelineCodec) Name() string { return "proto" }
