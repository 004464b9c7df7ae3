package holdfast

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "holdfast.dev/go/holdfastpb"
)

// Version is the version of this module.
const Version = "0.2.0"

// Client is a client of one Holdfast server, or of several replicas. It may be used by any number of goroutines.
type Client struct {
	options    *options
	connection *grpc.ClientConn
	pipelines  *pipelines
	stub       pb.CheckpointServiceClient
	bucket     *bucket
	tracing    tracing
	token      *currentToken
	heads      *seenHeads
	// The largest stamp of records that the client has seen.
	stamp atomic.Int64
	// Ends when the client is closed.
	life      context.Context
	end       context.CancelFunc
	closeOnce sync.Once
}

// NewClient returns a client of a server. It connects when the first call is made. Close it when it is no longer used.
//
// The target is host:port, grpcs://host:port for TLS, several host:port with commas for replicas of which the first that
// answers is used, or any target that gRPC accepts. NewClient returns an *[Error] with [ErrInvalidRequest] if the target
// or an option is not valid, or if a token would be sent in plaintext to another machine.
func NewClient(target string, opts ...Option) (*Client, error) {
	made := &options{timeout: defaultTimeout, retry: DefaultRetryPolicy()}
	for _, option := range opts {
		option(made)
	}
	if err := made.check(); err != nil {
		return nil, err
	}
	to, err := parseTarget(target, made.tls)
	if err != nil {
		return nil, err
	}
	if made.token != nil && to.security == nil && !made.allowsInsecure && !to.isLoopback() {
		return nil, invalid("token", "would be sent in plaintext to another machine, where others can read it: "+
			"use TLS, or allow it with WithInsecureToken")
	}
	connection, err := to.dial(made)
	if err != nil {
		return nil, invalid("target", "cannot be used: %v", err)
	}
	pipelines := newPipelines(connection)
	var calls grpc.ClientConnInterface = pipelines
	for _, wrap := range made.wrappers {
		calls = wrap(calls)
	}
	life, end := context.WithCancel(context.Background())
	return &Client{
		options:    made,
		connection: connection,
		pipelines:  pipelines,
		stub:       pb.NewCheckpointServiceClient(calls),
		bucket:     newBucket(made.retry),
		tracing:    made.tracing,
		token:      newToken(made, life),
		heads:      newSeenHeads(),
		life:       life,
		end:        end,
	}, nil
}

// Close closes the client for good. Running and later calls end with [ErrClientClosed].
func (c *Client) Close() error {
	var err error
	c.closeOnce.Do(func() {
		c.end()
		c.pipelines.close()
		err = c.connection.Close()
		c.pipelines.running.Wait()
	})
	return err
}

func (c *Client) isClosed() bool {
	return c.life.Err() != nil
}

// Depth is how much a validation reads.
type Depth int

// The depths of a validation. Each includes the ones before it.
const (
	// Checksum reads every byte. It is the default.
	Checksum Depth = iota
	// Marker reads the commit marker.
	Marker
	// Presence also looks whether each blob exists and has its size.
	Presence
)

// ValidateOptions are the optional arguments of Validate.
type ValidateOptions struct {
	// CheckpointID is the checkpoint; "" for the newest.
	CheckpointID string
	Depth        Depth
	// AcceptedFormats makes any other format a finding; empty for any.
	AcceptedFormats []AcceptedFormat
}

// Validate checks whether a workflow can be resumed. Damage is a finding, not an error.
func (c *Client) Validate(ctx context.Context, namespace, workflowID string, options ValidateOptions) (*Validation, error) {
	request := &pb.ValidateRequest{
		Namespace:       namespace,
		WorkflowId:      workflowID,
		CheckpointId:    options.CheckpointID,
		AcceptedFormats: acceptedMessages(options.AcceptedFormats),
	}
	switch options.Depth {
	case Checksum:
		request.Depth = pb.ValidateDepth_VALIDATE_DEPTH_CHECKSUM
	case Marker:
		request.Depth = pb.ValidateDepth_VALIDATE_DEPTH_MARKER
	case Presence:
		request.Depth = pb.ValidateDepth_VALIDATE_DEPTH_PRESENCE
	default:
		return nil, invalid("Depth", "must be Checksum, Marker or Presence, not %d", options.Depth)
	}
	return c.validate(ctx, request, newBudget(c.timeout(ctx)))
}

func (c *Client) validate(ctx context.Context, request *pb.ValidateRequest, budget *budget) (*Validation, error) {
	var response *pb.ValidateResponse
	err := budget.spend(func(left time.Duration) (err error) {
		response, err = unary(ctx, c, "Validate", left, request, c.stub.Validate)
		return err
	})
	if err != nil {
		return nil, err
	}
	if found := response.GetCheckpoint(); found != nil {
		err = requireNamed(found, request.GetNamespace(), request.GetWorkflowId(), request.GetCheckpointId())
	}
	if found := response.GetLastGood(); err == nil && found != nil {
		err = requireNamed(found, request.GetNamespace(), request.GetWorkflowId(), "")
	}
	if err != nil {
		return nil, err
	}
	return &Validation{
		Resumable:  response.GetResumable(),
		Findings:   toFindings(response.GetFindings()),
		Checkpoint: toCheckpoint(response.GetCheckpoint()),
		LastGood:   toCheckpoint(response.GetLastGood()),
	}, nil
}

// AcquireOptions are the optional arguments of AcquireWriter.
type AcquireOptions struct {
	// ExpectedRevision acquires only if since this revision of the log nobody has saved, deleted the whole workflow, or
	// acquired it; 0: while no checkpoint exists; nil: in any case.
	ExpectedRevision *int64
	// Lease is how long to refuse others without Force, from now and from each save, deletion and prune with the new
	// epoch; 0: anybody may evict this writer at any time.
	Lease time.Duration
	// Holder is the name of the lease's holder, shown to others; "" for this host and process.
	Holder string
	// Force evicts the holder of a lease that has not ended.
	Force bool
	// RequestID is the idempotency key; "" for a new one. It must be a fresh one in each process: with a reused one a
	// process receives the epoch that its predecessor still has, and neither fences the other.
	RequestID string
}

// AcquireWriter makes the caller the only writer of a workflow, which need not exist yet: from now on, saves with a lower
// epoch are refused.
func (c *Client) AcquireWriter(ctx context.Context, namespace, workflowID string, options AcquireOptions) (*Writer, error) {
	request := &pb.AcquireWriterRequest{
		Namespace:        namespace,
		WorkflowId:       workflowID,
		RequestId:        requestIDOr(options.RequestID),
		ExpectedRevision: options.ExpectedRevision,
		Holder:           options.Holder,
		Force:            options.Force,
	}
	if options.Lease != 0 {
		request.Lease = durationpb.New(options.Lease)
		if request.Holder == "" {
			request.Holder = thisProcess()
		}
	}
	response, err := unary(ctx, c, "AcquireWriter", c.timeout(ctx), request, c.stub.AcquireWriter)
	if err != nil {
		return nil, err
	}
	if response.GetEpoch() < 1 || response.GetRevision() < 1 {
		return nil, wrongAnswer("a writer with epoch %d and revision %d", response.GetEpoch(), response.GetRevision())
	}
	writer := &Writer{Epoch: response.GetEpoch(), Revision: response.GetRevision(), Replayed: response.GetReplayed()}
	if response.GetLeaseExpireTime() != nil {
		writer.LeaseExpires = response.GetLeaseExpireTime().AsTime()
	}
	return writer, nil
}

// CopyOptions are the optional arguments of CopyWorkflow.
type CopyOptions struct {
	// RequestID is the idempotency key; "" for a new one.
	RequestID string
}

// CopyWorkflow copies all checkpoints of a workflow, with their records, into a workflow of the same namespace that has
// none. Returns how many were copied. To continue an interrupted copy, repeat it with its request id.
func (c *Client) CopyWorkflow(
	ctx context.Context, namespace, workflowID, targetWorkflowID string, options CopyOptions,
) (int64, error) {
	request := &pb.CopyWorkflowRequest{
		Namespace: namespace, WorkflowId: workflowID, TargetWorkflowId: targetWorkflowID,
		RequestId: requestIDOr(options.RequestID),
	}
	response, err := unary(ctx, c, "CopyWorkflow", c.timeout(ctx), request, c.stub.CopyWorkflow)
	return response.GetCopied(), err
}

// Capabilities returns the server's version, features and limits.
func (c *Client) Capabilities(ctx context.Context) (*pb.GetCapabilitiesResponse, error) {
	return unary(ctx, c, "GetCapabilities", c.timeout(ctx), &pb.GetCapabilitiesRequest{}, c.stub.GetCapabilities)
}

// Returns this host's name and this process's id, within the limits of a name.
func thisProcess() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	plain := regexp.MustCompile(`[^A-Za-z0-9._-]`).ReplaceAllString(host, "-")
	return fmt.Sprintf("%.100s:%d", plain, os.Getpid())
}
