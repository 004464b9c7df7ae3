package holdfast

import (
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "holdfast.dev/go/holdfastpb"
)

const (
	// A larger request is sent as a unary call, so that small calls do not wait for it.
	largestPipelined = 256 << 10
	messageBytes     = 512 << 10
	// The most calls that a server accepts in one message.
	messageCalls = 1000
	// What may be in flight before the server has stated its limits.
	firstCalls = 8
	firstBytes = 1 << 20
)

// The field of each method's request in a PipelineCall, which is also that of its response in a PipelineAnswer.
var pipelined = func() map[string]protoreflect.FieldNumber {
	numbers := map[string]protoreflect.FieldNumber{}
	requests := (&pb.PipelineCall{}).ProtoReflect().Descriptor().Oneofs().ByName("request").Fields()
	methods := pb.File_holdfast_v1_checkpoint_service_proto.Services().ByName("CheckpointService").Methods()
	for index := range methods.Len() {
		for field := range requests.Len() {
			if requests.Get(field).Message() == methods.Get(index).Input() {
				name := "/" + string(methods.Get(index).Parent().FullName()) + "/" + string(methods.Get(index).Name())
				numbers[name] = requests.Get(field).Number()
			}
		}
	}
	return numbers
}()

// A call in a pipeline, from its request to its outcome. `pipelines.mu` guards it until `done` is closed.
type pipelinedCall struct {
	field       protoreflect.FieldNumber
	data        []byte
	size        int
	deadline    time.Time
	traceparent string
	tracestate  string
	credentials string
	id          int64
	isDone      bool

	done chan struct{}
	// The outcome: an error, or a response, or that the call must be sent as a unary call because no server has started
	// it and none takes pipelines.
	err       error
	response  proto.Message
	isRefused bool
}

func (c *pipelinedCall) finish(response proto.Message, err error) {
	if !c.isDone {
		c.isDone, c.response, c.err = true, response, err
		close(c.done)
	}
}

func (c *pipelinedCall) refuse() {
	c.isRefused = true
	c.finish(nil, nil)
}

// Takes the server's answer as the outcome.
func (c *pipelinedCall) answer(answer *pb.PipelineAnswer) {
	message := answer.ProtoReflect()
	outcome := message.WhichOneof(message.Descriptor().Oneofs().ByName("outcome"))
	switch {
	case outcome != nil && outcome.Number() == c.field:
		c.finish(message.Get(outcome).Message().Interface(), nil)
	case outcome != nil && outcome.Name() == "status":
		var failed spb.Status
		if err := proto.Unmarshal(answer.GetStatus(), &failed); err != nil || failed.GetCode() == 0 {
			c.finish(nil, wrongAnswer("a status that cannot be read"))
			return
		}
		c.finish(nil, status.ErrorProto(&failed))
	default:
		c.finish(nil, wrongAnswer("the answer of another call"))
	}
}

// Appends the call to the bytes of a PipelineRequest, and forgets its request.
func (c *pipelinedCall) encode(message []byte) []byte {
	head, _ := proto.Marshal(&pb.PipelineCall{
		CallId: c.id, Timeout: durationpb.New(max(time.Until(c.deadline), time.Millisecond)),
		Traceparent: c.traceparent, Tracestate: c.tracestate,
	})
	body := protowire.AppendTag(head, c.field, protowire.BytesType)
	body = protowire.AppendBytes(body, c.data)
	c.data = nil
	message = protowire.AppendTag(message, 1, protowire.BytesType)
	return protowire.AppendBytes(message, body)
}

// The calls of one stream: which of them wait, which are in flight, what the next message holds.
//
// Whatever waits when the stream can take a message goes into it, up to a size that other calls need not wait for. A lone
// call goes at once. `pipelines.mu` guards a pipeline.
type pipeline struct {
	credentials   string
	waiting       []*pipelinedCall
	inFlight      map[int64]*pipelinedCall
	bytesInFlight int
	cancelled     []int64
	maxCalls      int
	maxBytes      int
	wasUsed       bool
	hasSent       bool
	hasAnswered   bool
	// Whether the pipeline takes no further calls.
	isRetired bool
	// Has a value when there may be something to send.
	wake chan struct{}
}

func newPipeline(credentials string) *pipeline {
	return &pipeline{
		credentials: credentials, inFlight: map[int64]*pipelinedCall{}, maxCalls: firstCalls, maxBytes: firstBytes,
		wake: make(chan struct{}, 1),
	}
}

func (p *pipeline) notify() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pipeline) add(call *pipelinedCall) {
	p.waiting = append(p.waiting, call)
	p.wasUsed = true
	p.notify()
}

// Cancels a call on the server if this pipeline has sent it.
func (p *pipeline) cancel(call *pipelinedCall) {
	if p.inFlight[call.id] == call && !p.isRetired {
		p.cancelled = append(p.cancelled, call.id)
		p.notify()
	}
}

// Returns the next message; nil if nothing can be sent now. False if nothing will be sent any more.
func (p *pipeline) message(nextID *int64) ([]byte, bool) {
	var message []byte
	if len(p.cancelled) > 0 {
		message, _ = proto.Marshal(&pb.PipelineRequest{CancelledCallIds: p.cancelled})
		p.cancelled = nil
	}
	// Nothing follows the first calls until the server has answered, or a refusal could be taken for a break.
	if p.hasAnswered || len(p.inFlight) == 0 {
		count, size := 0, 0
		for len(p.waiting) > 0 && count < messageCalls {
			call := p.waiting[0]
			if !call.isDone {
				if !p.hasRoom(call) || (size > 0 && size+call.size > messageBytes) {
					break
				}
				*nextID++
				call.id = *nextID
				p.inFlight[call.id] = call
				p.bytesInFlight += call.size
				size += call.size
				count++
				message = call.encode(message)
			}
			p.waiting[0] = nil
			p.waiting = p.waiting[1:]
		}
	}
	return message, message != nil || !p.isRetired
}

func (p *pipeline) hasRoom(call *pipelinedCall) bool {
	return len(p.inFlight) == 0 || (len(p.inFlight) < p.maxCalls && p.bytesInFlight+call.size <= p.maxBytes)
}

// Takes a message of the server: limits, and the outcomes of calls. Ids that are not in flight are ignored.
func (p *pipeline) received(response *pb.PipelineResponse) {
	p.hasAnswered = true
	if limits := response.GetLimits(); limits != nil {
		p.maxCalls, p.maxBytes = max(int(limits.GetCalls()), 1), max(int(limits.GetBytes()), 1)
	}
	for _, answer := range response.GetAnswers() {
		if call := p.inFlight[answer.GetCallId()]; call != nil {
			delete(p.inFlight, call.id)
			p.bytesInFlight -= call.size
			call.answer(answer)
		}
	}
	if len(p.waiting) > 0 {
		p.notify()
	}
}

// Reports whether no call is open and none was added since this was last called.
func (p *pipeline) isIdle() bool {
	wasUsed := p.wasUsed
	p.wasUsed = false
	return !wasUsed && len(p.waiting) == 0 && len(p.inFlight) == 0
}

// Takes no further calls, and closes the stream for sending. Returns the calls that were not sent.
func (p *pipeline) retire() []*pipelinedCall {
	p.isRetired = true
	unsent := p.waiting
	p.waiting = nil
	p.notify()
	return unsent
}

// Sends nothing more. Returns the calls without an outcome.
func (p *pipeline) end() []*pipelinedCall {
	calls := p.retire()
	for _, call := range p.inFlight {
		calls = append(calls, call)
	}
	p.inFlight, p.cancelled = nil, nil
	return calls
}
