package holdfast

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	pb "holdfast.dev/go/holdfastpb"
)

// HistoryOptions are the optional arguments of History. A checkpoint must meet all conditions that are given.
type HistoryOptions struct {
	// Labels, CreatedAfter, CreatedBefore, Formats, Before and PageSize are as in [ListOptions].
	Labels        map[string]string
	CreatedAfter  time.Time
	CreatedBefore time.Time
	Formats       []AcceptedFormat
	Before        string
	PageSize      int32
	// Records loads their records too.
	Records bool
	// AcceptedFormats ends the history with an error where a checkpoint has another format; empty for any.
	AcceptedFormats []AcceptedFormat
	// MaxBytes is the most bytes that each payload may have, as in [LoadOptions].
	MaxBytes int64
}

// History iterates over the checkpoints of a workflow with their payloads, newest first; "" for the workflow iterates over
// every workflow of the namespace, one after the other. One request brings many small payloads. An error ends the
// iteration, also where a checkpoint is damaged or may be missing. A checkpoint that is deleted during the iteration may be
// left out.
//
// The time of the call is that of all requests together. [Loaded.HeadRevision] is 0.
func (c *Client) History(ctx context.Context, namespace, workflowID string, options HistoryOptions) iter.Seq2[*Loaded, error] {
	conditions := ListOptions{
		Labels: options.Labels, CreatedAfter: options.CreatedAfter, CreatedBefore: options.CreatedBefore,
		Formats: options.Formats, Before: options.Before, PageSize: options.PageSize,
	}
	view := pb.CheckpointView_CHECKPOINT_VIEW_PAYLOAD
	if options.Records {
		view = pb.CheckpointView_CHECKPOINT_VIEW_FULL
	}
	prepared := conditions.request(namespace, workflowID, view)
	maxBytes, invalid := LoadOptions{MaxBytes: options.MaxBytes}.maxBytes(defaultMaxBytes)
	return func(yield func(*Loaded, error) bool) {
		if invalid != nil {
			yield(nil, invalid)
			return
		}
		request, budget := proto.CloneOf(prepared), newBudget(c.timeout(ctx))
		err := pages(budget, &request.PageToken, func(left time.Duration) (*pb.ListResponse, error) {
			return unary(ctx, c, "List", left, request, c.stub.List)
		}, func(page *pb.ListResponse) (bool, error) {
			c.observe(page.GetStamp())
			if len(page.GetCheckpoints()) != len(page.GetContents()) {
				return false, wrongAnswer("%d checkpoints with %d contents", len(page.GetCheckpoints()), len(page.GetContents()))
			}
			for index, found := range page.GetCheckpoints() {
				if err := requireNamed(found, namespace, workflowID, ""); err != nil {
					return false, err
				}
				if workflowID != "" {
					if err := requireWhole(page, found.GetRevision()); err != nil {
						return false, err
					}
				}
				loaded, err := c.ofHistory(ctx, found, page.GetContents()[index], budget, maxBytes, options)
				if err != nil {
					return false, err
				}
				if loaded != nil && !yield(loaded, nil) {
					return false, nil
				}
			}
			return true, requireWhole(page, 0)
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

// Returns a checkpoint with its payload, from the page if that includes it; nil if it was deleted since the page was made.
func (c *Client) ofHistory(
	ctx context.Context, found *pb.Checkpoint, content *pb.Content, budget *budget, maxBytes int64, options HistoryOptions,
) (*Loaded, error) {
	if err := requireSizes(found, maxBytes); err != nil {
		return nil, err
	}
	if err := requireAccepted(found, options.AcceptedFormats); err != nil {
		return nil, err
	}
	load := LoadOptions{CheckpointID: found.GetCheckpointId(), Records: options.Records, MaxBytes: maxBytes}
	if !content.GetPayloadIncluded() {
		request := load.request(found.GetNamespace(), found.GetWorkflowId())
		loaded, err := c.load(ctx, request, budget, load)
		if errors.Is(err, ErrCheckpointDeleted) || errors.Is(err, ErrCheckpointNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		loaded.HeadRevision = 0
		return loaded, nil
	}
	parts, err := checkedParts(found, content.GetParts())
	if err != nil {
		return nil, err
	}
	info := toCheckpoint(found)
	loaded := &Loaded{Info: *info, Parts: parts, Format: info.Format}
	if options.Records {
		loaded.Records, err = c.recordsOf(ctx, found, content, budget)
	}
	return loaded, err
}

// Checks that a checkpoint has a format that the caller accepts.
func requireAccepted(found *pb.Checkpoint, accepted []AcceptedFormat) error {
	name, version := found.GetFormat().GetName(), found.GetFormat().GetVersion()
	for _, each := range accepted {
		if each.Name == name && each.MinVersion <= version && version <= each.MaxVersion {
			return nil
		}
	}
	if len(accepted) == 0 {
		return nil
	}
	failure := of(ErrFormatIncompatible, "the checkpoint has format %s version %d, the caller accepts %v", name, version, accepted)
	failure.Metadata["checkpoint_id"] = found.GetCheckpointId()
	failure.Metadata["revision"] = strconv.FormatInt(found.GetRevision(), 10)
	return failure
}
