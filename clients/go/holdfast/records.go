package holdfast

import (
	"context"
	"strconv"
	"time"

	pb "holdfast.dev/go/holdfastpb"
)

const (
	// The most that a server accepts in one call.
	batchBytes   = 3 << 20
	batchRecords = 1000
)

// AttachOptions are the optional arguments of Attach.
type AttachOptions struct {
	// Epoch is the writer's epoch; 0 for none. A workflow handle sets it itself.
	Epoch int64
	// RequestID is the idempotency key; "" for a new one.
	RequestID string
}

// Attach attaches records to a checkpoint id, whether the checkpoint exists or not. Up to 3 MiB and 1000 records go in
// one call, all of them or none. More records go in several calls, in order.
//
// They are ordered after everything that this client has read, whatever the clocks of the servers say.
func (c *Client) Attach(
	ctx context.Context, namespace, workflowID, checkpointID string, records []Record, options AttachOptions,
) error {
	requestID := requestIDOr(options.RequestID)
	for index := 0; len(records) > 0; index++ {
		count, size := 0, 0
		request := &pb.AttachRecordsRequest{
			Namespace: namespace, WorkflowId: workflowID, CheckpointId: checkpointID, RequestId: requestID,
			ObservedStamp: c.stamp.Load(), Epoch: optional(options.Epoch),
		}
		if index > 0 {
			request.RequestId = requestID + "-" + strconv.Itoa(index)
		}
		for _, record := range records {
			size += len(record.Key) + len(record.Data)
			if count > 0 && (size > batchBytes || count == batchRecords) {
				break
			}
			request.Records = append(request.Records, &pb.Record{Key: record.Key, Data: record.Data, Replace: record.Replace})
			count++
		}
		response, err := unary(ctx, c, "AttachRecords", c.timeout(ctx), request, c.stub.AttachRecords)
		if err != nil {
			return err
		}
		c.observe(response.GetStamp())
		records = records[count:]
	}
	return nil
}

// Records returns the records of a checkpoint id, in the order of their keys, whether the checkpoint exists or not.
func (c *Client) Records(ctx context.Context, namespace, workflowID, checkpointID string) ([]Record, error) {
	return c.records(ctx, namespace, workflowID, checkpointID, newBudget(c.timeout(ctx)))
}

func (c *Client) records(
	ctx context.Context, namespace, workflowID, checkpointID string, budget *budget,
) ([]Record, error) {
	request := &pb.ListRecordsRequest{Namespace: namespace, WorkflowId: workflowID, CheckpointId: checkpointID}
	var found collected
	err := pages(budget, &request.PageToken, func(left time.Duration) (*pb.ListRecordsResponse, error) {
		return unary(ctx, c, "ListRecords", left, request, c.stub.ListRecords)
	}, func(page *pb.ListRecordsResponse) (bool, error) {
		c.observe(page.GetStamp())
		return true, found.add(page.GetRecords())
	})
	return found.records, err
}

// An answer that may include the records of a checkpoint.
type includedRecords interface {
	GetRecordsIncluded() bool
	GetRecords() []*pb.Record
}

// Returns the records of a checkpoint: from an answer that includes them, otherwise by a call of its own.
func (c *Client) recordsOf(
	ctx context.Context, checkpoint *pb.Checkpoint, included includedRecords, budget *budget,
) ([]Record, error) {
	if !included.GetRecordsIncluded() {
		return c.records(ctx, checkpoint.GetNamespace(), checkpoint.GetWorkflowId(), checkpoint.GetCheckpointId(), budget)
	}
	var found collected
	err := found.add(included.GetRecords())
	return found.records, err
}

// Keeps the largest stamp of all answers.
func (c *Client) observe(stamp int64) {
	for known := c.stamp.Load(); stamp > known && !c.stamp.CompareAndSwap(known, stamp); known = c.stamp.Load() {
	}
}
