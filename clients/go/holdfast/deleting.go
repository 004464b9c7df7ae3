package holdfast

import (
	"context"
	"maps"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "holdfast.dev/go/holdfastpb"
)

// Deletions fail closed: a value that was lost on its way here, such as an empty workflow id or the zero time, is an
// error, and never makes a deletion wider. Deletions of everything have names or conditions of their own.

// DeleteOptions are the optional arguments of deletions and prunes.
type DeleteOptions struct {
	// Purge removes the content before the call returns, and not only after the store's grace. Only for Delete,
	// DeleteWorkflow, DeleteWorkflows and DeleteAllWorkflows.
	Purge bool
	// Epoch is the writer's epoch; 0 for none. Only for deletions in one workflow.
	Epoch int64
	// RequestID is the idempotency key; "" for a new one.
	RequestID string
}

// Delete deletes a checkpoint. Returns the revision of the deletion, the log's new head.
func (c *Client) Delete(
	ctx context.Context, namespace, workflowID, checkpointID string, options DeleteOptions,
) (int64, error) {
	request := &pb.DeleteRequest{
		Namespace: namespace, WorkflowId: workflowID, CheckpointId: checkpointID,
		RequestId: requestIDOr(options.RequestID), Epoch: optional(options.Epoch), Purge: options.Purge,
	}
	response, err := unary(ctx, c, "Delete", c.timeout(ctx), request, c.stub.Delete)
	return response.GetRevision(), err
}

// DeleteWorkflow deletes every checkpoint of a workflow, and all records. Returns the revision of the deletion, the log's
// new head.
func (c *Client) DeleteWorkflow(ctx context.Context, namespace, workflowID string, options DeleteOptions) (int64, error) {
	request := &pb.DeleteWorkflowRequest{
		Namespace: namespace, WorkflowId: workflowID,
		RequestId: requestIDOr(options.RequestID), Epoch: optional(options.Epoch), Purge: options.Purge,
	}
	response, err := unary(ctx, c, "DeleteWorkflow", c.timeout(ctx), request, c.stub.DeleteWorkflow)
	return response.GetRevision(), err
}

// Prune deletes a workflow's checkpoints, except the newest ones, the pinned ones, and those that any of these needs.
// keepLast is how many of the newest to keep, at least 1. Returns how many were deleted.
func (c *Client) Prune(
	ctx context.Context, namespace, workflowID string, keepLast int32, options DeleteOptions,
) (int64, error) {
	if err := options.requireNoPurge(); err != nil {
		return 0, err
	}
	request := &pb.PruneRequest{
		Namespace: namespace, WorkflowId: workflowID, KeepLast: keepLast,
		RequestId: requestIDOr(options.RequestID), Epoch: optional(options.Epoch),
	}
	response, err := unary(ctx, c, "Prune", c.timeout(ctx), request, c.stub.Prune)
	return response.GetDeleted(), err
}

// DeleteWorkflows deletes every checkpoint and all records of the workflows whose ids begin with a prefix, which must not
// be "". "a" also matches "ab": end the prefix with a separator that ids contain nowhere else. Workflows that begin during
// the call may stay.
//
// Returns how many workflows that held checkpoints were deleted, without those that an earlier attempt deleted; also with
// an error. Workflows whose logs are damaged stay, and all others are deleted: the error then names the first of them, and
// how many they are. To continue an interrupted deletion, repeat it with its request id. The client's timeout is for each
// page that deletes something; the context's deadline is for all of them.
func (c *Client) DeleteWorkflows(ctx context.Context, namespace, prefix string, options DeleteOptions) (int64, error) {
	if prefix == "" {
		return 0, invalid("prefix", `must not be ""; DeleteAllWorkflows deletes every workflow of a namespace`)
	}
	return c.deleteWorkflows(ctx, &pb.DeleteWorkflowsRequest{Namespace: namespace, WorkflowIdPrefix: prefix}, options)
}

// DeleteAllWorkflows deletes every checkpoint and all records of every workflow of a namespace, as DeleteWorkflows does.
func (c *Client) DeleteAllWorkflows(ctx context.Context, namespace string, options DeleteOptions) (int64, error) {
	return c.deleteWorkflows(ctx, &pb.DeleteWorkflowsRequest{Namespace: namespace, All: true}, options)
}

func (c *Client) deleteWorkflows(
	ctx context.Context, request *pb.DeleteWorkflowsRequest, options DeleteOptions,
) (deleted int64, err error) {
	if options.Epoch != 0 {
		return 0, invalid("Epoch", "is of one workflow, and cannot be given for many, not %d", options.Epoch)
	}
	request.RequestId, request.Purge = requestIDOr(options.RequestID), options.Purge
	var first *pb.FailedDeletion
	failed := 0
	budget := newBudget(c.timeout(ctx))
	err = pages(budget, &request.PageToken, func(left time.Duration) (*pb.DeleteWorkflowsResponse, error) {
		return unary(ctx, c, "DeleteWorkflows", left, request, c.stub.DeleteWorkflows)
	}, func(page *pb.DeleteWorkflowsResponse) (bool, error) {
		deleted += page.GetDeleted()
		if page.GetDeleted() > 0 {
			budget.renew(c.timeout(ctx))
		}
		if failed += len(page.GetFailed()); first == nil && failed > 0 {
			first = page.GetFailed()[0]
		}
		return true, nil
	})
	if err != nil || first == nil {
		return deleted, err
	}
	failure := ofServer(Reason(first.GetReason()), codes.Internal,
		"%d workflows could not be deleted, %d were; the first is %.200q: %s",
		failed, deleted, first.GetWorkflowId(), first.GetMessage())
	failure.RequestID = request.GetRequestId()
	failure.Metadata = map[string]string{
		"workflow_id": first.GetWorkflowId(), "failed": strconv.Itoa(failed), "deleted": strconv.FormatInt(deleted, 10),
	}
	return deleted, failure
}

// Match is a condition that a checkpoint must meet to be deleted. Make one with [MatchLabels], [MatchCreatedAfter],
// [MatchCreatedBefore], [MatchFormats] or [MatchAll]. A condition without a value is an error of the deletion.
type Match struct {
	name    string
	problem string
	set     func(*pb.DeleteCheckpointsRequest)
}

// MatchLabels matches checkpoints that have all of these labels, at least one.
func MatchLabels(labels map[string]string) Match {
	match := Match{name: "MatchLabels"}
	labels = maps.Clone(labels)
	if len(labels) == 0 {
		match.problem = "must have at least one label"
	}
	match.set = func(request *pb.DeleteCheckpointsRequest) { request.Filter.Labels = labels }
	return match
}

// MatchCreatedAfter matches checkpoints that were saved at a time or later.
func MatchCreatedAfter(earliest time.Time) Match {
	return Match{"MatchCreatedAfter", timeProblem(earliest), func(request *pb.DeleteCheckpointsRequest) {
		request.Filter.CreatedAfter = timestamppb.New(earliest)
	}}
}

// MatchCreatedBefore matches checkpoints that were saved before a time.
func MatchCreatedBefore(end time.Time) Match {
	return Match{"MatchCreatedBefore", timeProblem(end), func(request *pb.DeleteCheckpointsRequest) {
		request.Filter.CreatedBefore = timestamppb.New(end)
	}}
}

func timeProblem(given time.Time) string {
	if given.IsZero() {
		return "must have a time, not the zero time"
	}
	return ""
}

// MatchFormats matches checkpoints that have one of these formats, at least one. It needs another condition, since formats
// alone match nearly everything.
func MatchFormats(formats ...AcceptedFormat) Match {
	match := Match{name: "MatchFormats"}
	messages := acceptedMessages(formats)
	if len(messages) == 0 {
		match.problem = "must have at least one format"
	}
	match.set = func(request *pb.DeleteCheckpointsRequest) { request.Filter.Formats = messages }
	return match
}

// MatchAll matches every checkpoint, or with MatchFormats every one of these formats. It cannot be combined with labels or
// times.
func MatchAll() Match {
	return Match{name: "MatchAll", set: func(request *pb.DeleteCheckpointsRequest) { request.All = true }}
}

// DeleteCheckpoints deletes the checkpoints of a workflow, which must not be "", that meet all of the conditions. Labels, a
// time or MatchAll are required. Checkpoints that are saved during the call may stay.
//
// Returns how many were deleted, without those that an earlier attempt deleted; also with an error. The client's timeout
// is for each page that deletes something; the context's deadline is for all of them.
func (c *Client) DeleteCheckpoints(
	ctx context.Context, namespace, workflowID string, conditions []Match, options DeleteOptions,
) (int64, error) {
	if workflowID == "" {
		return 0, invalid("workflowID",
			`must not be ""; DeleteCheckpointsOfNamespace deletes checkpoints of every workflow of a namespace`)
	}
	return c.deleteCheckpoints(ctx, namespace, workflowID, conditions, options)
}

// DeleteCheckpointsOfNamespace deletes the checkpoints of every workflow of a namespace that meet all of the conditions, as
// DeleteCheckpoints does for one workflow.
func (c *Client) DeleteCheckpointsOfNamespace(
	ctx context.Context, namespace string, conditions []Match, options DeleteOptions,
) (int64, error) {
	if options.Epoch != 0 {
		return 0, invalid("Epoch", "is of one workflow, and cannot be given for many, not %d", options.Epoch)
	}
	return c.deleteCheckpoints(ctx, namespace, "", conditions, options)
}

func (c *Client) deleteCheckpoints(
	ctx context.Context, namespace, workflowID string, conditions []Match, options DeleteOptions,
) (deleted int64, err error) {
	if err := options.requireNoPurge(); err != nil {
		return 0, err
	}
	request := &pb.DeleteCheckpointsRequest{
		Namespace: namespace, WorkflowId: workflowID, Filter: &pb.ListFilter{},
		RequestId: requestIDOr(options.RequestID), Epoch: optional(options.Epoch),
	}
	given := map[string]bool{}
	for index, each := range conditions {
		field := "conditions[" + strconv.Itoa(index) + "]"
		switch {
		case each.set == nil:
			return 0, invalid(field, "must be made by MatchLabels, MatchCreatedAfter, MatchCreatedBefore, MatchFormats or MatchAll")
		case each.problem != "":
			return 0, invalid(field, "%s %s", each.name, each.problem)
		case given[each.name]:
			return 0, invalid(field, "%s must be given once", each.name)
		}
		given[each.name] = true
		each.set(request)
	}
	if !given["MatchLabels"] && !given["MatchCreatedAfter"] && !given["MatchCreatedBefore"] && !given["MatchAll"] {
		return 0, invalid("conditions", "must have labels, a time or MatchAll")
	}
	budget := newBudget(c.timeout(ctx))
	err = pages(budget, &request.PageToken, func(left time.Duration) (*pb.DeleteCheckpointsResponse, error) {
		return unary(ctx, c, "DeleteCheckpoints", left, request, c.stub.DeleteCheckpoints)
	}, func(page *pb.DeleteCheckpointsResponse) (bool, error) {
		deleted += page.GetDeleted()
		if page.GetDeleted() > 0 {
			budget.renew(c.timeout(ctx))
		}
		return true, nil
	})
	return deleted, err
}

func (o DeleteOptions) requireNoPurge() error {
	if o.Purge {
		return invalid("Purge", "is not for this call: use Delete, DeleteWorkflow, DeleteWorkflows or DeleteAllWorkflows")
	}
	return nil
}
