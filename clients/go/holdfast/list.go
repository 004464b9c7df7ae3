package holdfast

import (
	"context"
	"iter"
	"maps"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "holdfast.dev/go/holdfastpb"
)

// ListOptions are the optional arguments of List. A checkpoint must meet all conditions that are given.
type ListOptions struct {
	// Labels are the labels that a checkpoint must have.
	Labels map[string]string
	// CreatedAfter is the earliest time of its save; zero for any.
	CreatedAfter time.Time
	// CreatedBefore is the time before which it was saved; zero for any.
	CreatedBefore time.Time
	// Formats are the formats of which it must have one; empty for any.
	Formats []AcceptedFormat
	// Before is the id of a checkpoint: only older ones are listed.
	Before string
	// IDsOnly returns only the namespace, workflow, id and revision of each checkpoint.
	IDsOnly bool
	// Strict ends the list with an error where a commit marker is damaged, because a checkpoint may be missing there.
	// Otherwise it is left out.
	Strict bool
	// PageSize is how many to request at a time; 0: the server chooses.
	PageSize int32
}

func (o ListOptions) request(namespace, workflowID string, view pb.CheckpointView) *pb.ListRequest {
	request := &pb.ListRequest{
		Namespace:          namespace,
		WorkflowId:         workflowID,
		PageSize:           o.PageSize,
		BeforeCheckpointId: o.Before,
		View:               view,
		Filter:             &pb.ListFilter{Labels: maps.Clone(o.Labels), Formats: acceptedMessages(o.Formats)},
	}
	if !o.CreatedAfter.IsZero() {
		request.Filter.CreatedAfter = timestamppb.New(o.CreatedAfter)
	}
	if !o.CreatedBefore.IsZero() {
		request.Filter.CreatedBefore = timestamppb.New(o.CreatedBefore)
	}
	return request
}

// List iterates over the checkpoints of a workflow, newest first, over all pages; "" for the workflow lists every workflow
// of the namespace, one after the other. An error ends the iteration.
//
//	for checkpoint, err := range client.List(ctx, "orders", "order-17", holdfast.ListOptions{}) { … }
func (c *Client) List(ctx context.Context, namespace, workflowID string, options ListOptions) iter.Seq2[*Checkpoint, error] {
	view := pb.CheckpointView_CHECKPOINT_VIEW_METADATA
	if options.IDsOnly {
		view = pb.CheckpointView_CHECKPOINT_VIEW_ID
	}
	request := options.request(namespace, workflowID, view)
	return func(yield func(*Checkpoint, error) bool) {
		request := proto.CloneOf(request)
		err := pages(newBudget(c.timeout(ctx)), &request.PageToken, func(left time.Duration) (*pb.ListResponse, error) {
			return unary(ctx, c, "List", left, request, c.stub.List)
		}, func(page *pb.ListResponse) (bool, error) {
			for _, found := range page.GetCheckpoints() {
				if err := requireNamed(found, namespace, workflowID, ""); err != nil {
					return false, err
				}
				if options.Strict && workflowID != "" {
					if err := requireWhole(page, found.GetRevision()); err != nil {
						return false, err
					}
				}
				if !yield(toCheckpoint(found), nil) {
					return false, nil
				}
			}
			if options.Strict {
				return true, requireWhole(page, 0)
			}
			return true, nil
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

// ListWorkflows iterates over the workflows of a namespace whose ids begin with a prefix, in no particular order.
func (c *Client) ListWorkflows(ctx context.Context, namespace, prefix string) iter.Seq2[*WorkflowInfo, error] {
	request := &pb.ListWorkflowsRequest{Namespace: namespace, WorkflowIdPrefix: prefix}
	return func(yield func(*WorkflowInfo, error) bool) {
		request := proto.CloneOf(request)
		err := pages(newBudget(c.timeout(ctx)), &request.PageToken, func(left time.Duration) (*pb.ListWorkflowsResponse, error) {
			return unary(ctx, c, "ListWorkflows", left, request, c.stub.ListWorkflows)
		}, func(page *pb.ListWorkflowsResponse) (bool, error) {
			for _, found := range page.GetWorkflows() {
				if err := requireListed(found, request); err != nil {
					return false, err
				}
				if !yield(&WorkflowInfo{
					found.GetNamespace(), found.GetWorkflowId(), found.GetHeadRevision(), found.GetCheckpointRevision(),
					found.GetEpoch(), found.GetUpdateTime().AsTime(),
				}, nil) {
					return false, nil
				}
			}
			return true, nil
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

// Returns an error if a marker between the checkpoints of a page is damaged, above a revision of the workflow.
func requireWhole(page *pb.ListResponse, above int64) error {
	for _, damaged := range page.GetSkipped() {
		if damaged.GetRevision() > above {
			failure := ofServer(Reason(damaged.GetReason()), codes.DataLoss, "%s", damaged.GetMessage())
			failure.Metadata["revision"] = strconv.FormatInt(damaged.GetRevision(), 10)
			return failure
		}
	}
	return nil
}

// Requests the pages of an answer, all of them within the time of one logical call, and hands each on. The next page
// follows while `take` returns true.
//
// Only an empty token marks the last page: a page may be empty and not the last.
func pages[Page interface{ GetNextPageToken() string }](
	budget *budget, token *string, get func(left time.Duration) (Page, error), take func(Page) (bool, error),
) error {
	var known pageTokens
	for {
		var page Page
		err := budget.spend(func(left time.Duration) (err error) {
			page, err = get(left)
			return err
		})
		if err != nil {
			return err
		}
		if more, err := take(page); err != nil || !more || page.GetNextPageToken() == "" {
			return err
		}
		if err := known.requireNew(page.GetNextPageToken()); err != nil {
			return err
		}
		*token = page.GetNextPageToken()
	}
}
