package holdfast

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "holdfast.dev/go/holdfastpb"
)

// SaveOptions are the optional arguments of a save.
type SaveOptions struct {
	// CheckpointID is the id; "" lets the server choose.
	CheckpointID string
	// ParentID is the checkpoint that this one was made from; "" for none. A workflow handle sets it itself.
	ParentID string
	// Labels are labels to find it by.
	Labels map[string]string
	// ExpectedRevision commits only if since this revision of the log nobody has saved, deleted the whole workflow, or
	// acquired it under another epoch; 0: while no checkpoint exists; nil: in any case. A workflow handle sets it itself.
	ExpectedRevision *int64
	// Epoch is the writer's epoch; 0 for none. A save without an epoch is not fenced. A workflow handle sets it itself.
	Epoch int64
	// TTL is how long it must be kept; 0: until it is deleted.
	TTL time.Duration
	// Replace replaces the checkpoint that has the same id, if there is one.
	Replace bool
	// NeedsParent says that it is of no use without its parent, which is kept as long as it is.
	NeedsParent bool
	// Pinned keeps it when retention by count and age or a prune would remove it.
	Pinned bool
	// FreshID promises that no checkpoint of the workflow has the id or ever had it, which makes the save faster. If that
	// is wrong and the server does not notice, two checkpoints have the id.
	FreshID bool
	// RequestID is the idempotency key; "" for a new one.
	RequestID string
	// Progress is called for payloads that are streamed.
	Progress Progress
}

// Save saves a checkpoint, of any size. A payload of more than 1 MiB is streamed, and goes on where it broke.
func (c *Client) Save(
	ctx context.Context, namespace, workflowID string, payload []Part, format Format, options SaveOptions,
) (*Checkpoint, error) {
	content, err := newOutgoing(payload)
	if err != nil {
		return nil, err
	}
	return c.save(ctx, namespace, workflowID, content, format, options)
}

func (c *Client) save(
	ctx context.Context, namespace, workflowID string, content *outgoing, format Format, options SaveOptions,
) (*Checkpoint, error) {
	header := &pb.SaveHeader{
		Namespace:        namespace,
		WorkflowId:       workflowID,
		RequestId:        requestIDOr(options.RequestID),
		CheckpointId:     options.CheckpointID,
		ParentId:         options.ParentID,
		Format:           format.message(),
		Producer:         &pb.Producer{Name: c.options.producer.Name, Version: c.options.producer.Version},
		Labels:           options.Labels,
		ExpectedRevision: options.ExpectedRevision,
		Epoch:            optional(options.Epoch),
		Replace:          options.Replace,
		NeedsParent:      options.NeedsParent,
		Pinned:           options.Pinned,
		FreshId:          options.FreshID,
	}
	if options.TTL != 0 {
		header.Ttl = durationpb.New(options.TTL)
	}
	method, isStream := "Save", content.size > unaryBytes
	if isStream {
		method = "SaveStream"
	}
	var answer interface {
		GetCheckpoint() *pb.Checkpoint
		GetReplayed() bool
	}
	seen := c.heads.watch(header)
	send := func(ctx context.Context, attempt *pb.Attempt) (err error) {
		header.Attempt = attempt
		if isStream {
			answer, err = c.saveStream(ctx, header, content, options.Progress)
		} else {
			answer, err = c.saveUnary(ctx, header, content)
		}
		if err != nil {
			return err
		}
		return seen.require(answer)
	}
	err := c.call(ctx, method, header.GetRequestId(), seen, c.timeout(ctx), send)
	if err != nil {
		return nil, err
	}
	if err := requireSaved(answer.GetCheckpoint(), header, content); err != nil {
		return nil, err
	}
	saved := toCheckpoint(answer.GetCheckpoint())
	saved.Replayed = answer.GetReplayed()
	return saved, nil
}

func (c *Client) saveUnary(ctx context.Context, header *pb.SaveHeader, content *outgoing) (*pb.SaveResponse, error) {
	parts, err := content.inline()
	if err != nil {
		return nil, err
	}
	return c.stub.Save(ctx, &pb.SaveRequest{Header: header, Parts: parts})
}

// Makes one attempt of a streamed save. Later attempts go on from the position that the server reports.
func (c *Client) saveStream(
	ctx context.Context, header *pb.SaveHeader, content *outgoing, progress Progress,
) (*pb.SaveStreamResponse, error) {
	resumes := header.GetAttempt().GetNumber() > 1
	if resumes {
		ctx = metadata.AppendToOutgoingContext(ctx, "holdfast-resume", "1")
	}
	stream, err := c.stub.SaveStream(ctx)
	if err != nil {
		return nil, err
	}
	// A server that answers before the end of the payload ends the stream for sending. Its answer says why.
	err = stream.Send(&pb.SaveStreamRequest{Message: &pb.SaveStreamRequest_Header{Header: header}})
	received := ""
	if err == nil && resumes {
		metadata, failed := stream.Header()
		if failed != nil {
			return nil, failed
		}
		if values := metadata.Get("holdfast-received"); len(values) > 0 {
			received = values[0]
		}
	}
	if err == nil {
		err = content.send(received, progress, stream.Send)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return stream.CloseAndRecv()
}

func requestIDOr(given string) string {
	if given == "" {
		return newRequestID()
	}
	return given
}

func optional(epoch int64) *int64 {
	if epoch == 0 {
		return nil
	}
	return &epoch
}
