package holdfast

import (
	"context"
	"io"
	"math"
	"os"
	"time"

	pb "holdfast.dev/go/holdfastpb"
)

// LoadOptions are the optional arguments of a load.
type LoadOptions struct {
	// CheckpointID is the checkpoint; "" for the newest.
	CheckpointID string
	// AcceptedFormats refuses any other format before data moves; empty for any.
	AcceptedFormats []AcceptedFormat
	// Fallback loads the newest older checkpoint that is whole, if the checkpoint is damaged.
	Fallback bool
	// Records loads its records too.
	Records bool
	// MaxBytes is the most bytes that the payload may have. Nothing of a larger payload is loaded. 0: 4 GiB for Load and
	// Resume, any size for LoadTo and LoadFile.
	MaxBytes int64
	// Part is the part that LoadTo and LoadFile write; "" for the default part, or the only one.
	Part string
	// Progress is called for payloads that are streamed.
	Progress Progress
}

// ResumeOptions are the optional arguments of Resume.
type ResumeOptions struct {
	// Migrations bring older versions to the caller's format.
	Migrations *Migrations
	// Fallback, Records, MaxBytes and Progress are as in [LoadOptions].
	Fallback bool
	Records  bool
	MaxBytes int64
	Progress Progress
}

func (o LoadOptions) request(namespace, workflowID string) *pb.LoadRequest {
	request := &pb.LoadRequest{
		Namespace:       namespace,
		WorkflowId:      workflowID,
		CheckpointId:    o.CheckpointID,
		AcceptedFormats: acceptedMessages(o.AcceptedFormats),
		Fallback:        pb.Fallback_FALLBACK_NONE,
		View:            pb.CheckpointView_CHECKPOINT_VIEW_PAYLOAD,
	}
	if o.Fallback {
		request.Fallback = pb.Fallback_FALLBACK_LAST_GOOD
	}
	if o.Records {
		request.View = pb.CheckpointView_CHECKPOINT_VIEW_FULL
	}
	return request
}

func (o LoadOptions) maxBytes(otherwise int64) (int64, error) {
	if o.MaxBytes < 0 {
		return 0, invalid("MaxBytes", "must not be negative, not %d", o.MaxBytes)
	}
	if o.MaxBytes == 0 {
		return otherwise, nil
	}
	return o.MaxBytes, nil
}

// Load loads a checkpoint with its payload, of any size, and checks the payload's digests.
func (c *Client) Load(ctx context.Context, namespace, workflowID string, options LoadOptions) (*Loaded, error) {
	return c.load(ctx, options.request(namespace, workflowID), newBudget(c.timeout(ctx)), options)
}

// LoadTo writes a part of a checkpoint, of any size, to a writer. A few MiB of it are in memory at a time.
//
// Bytes are written as they arrive. Only when LoadTo has returned without an error are they known to be whole and to
// match their digest. LoadFile writes a file whole or not at all. A writer that blocks holds the call, whatever its context
// says: close the writer to end it.
func (c *Client) LoadTo(
	ctx context.Context, namespace, workflowID string, writer io.Writer, options LoadOptions,
) (*LoadedPart, error) {
	if writer == nil {
		return nil, invalid("writer", "must not be nil")
	}
	return c.loadPart(ctx, namespace, workflowID, &handed{Writer: writer}, options)
}

// LoadFile writes a part of a checkpoint, of any size, to the file at a path, whose folder must exist. The file gets the
// part once the part is whole and matches its digest, and is as it was before otherwise.
func (c *Client) LoadFile(
	ctx context.Context, namespace, workflowID, path string, options LoadOptions,
) (*LoadedPart, error) {
	into, err := newDraft(path)
	if err != nil {
		return nil, err
	}
	defer into.discard()
	loaded, err := c.loadPart(ctx, namespace, workflowID, into, options)
	if err != nil {
		return nil, err
	}
	if err := into.commit(); err != nil {
		_ = os.Remove(into.Name())
		return nil, err
	}
	return loaded, nil
}

// Resume loads the newest checkpoint of a workflow, whole and in the caller's format. If that fails, [Error.LastGood]
// names the newest checkpoint that could be resumed from.
func (c *Client) Resume(
	ctx context.Context, namespace, workflowID string, format Format, options ResumeOptions,
) (*Loaded, error) {
	load := LoadOptions{
		AcceptedFormats: []AcceptedFormat{options.Migrations.accepted(format)},
		Fallback:        options.Fallback, Records: options.Records, MaxBytes: options.MaxBytes, Progress: options.Progress,
	}
	request, budget := load.request(namespace, workflowID), newBudget(c.timeout(ctx))
	loaded, err := c.load(ctx, request, budget, load)
	if err == nil && loaded.Format != format {
		stored := loaded.Format
		loaded.Parts, err = options.Migrations.migrate(loaded.Parts, stored, format)
		loaded.Format, loaded.MigratedFrom = format, &stored
	}
	if err == nil {
		return loaded, nil
	}
	if failure, ok := err.(*Error); ok && !failure.Retryable && failure.Reason != ErrCancelled {
		failure.LastGood = c.lastGood(ctx, request, budget)
	}
	return nil, err
}

func (c *Client) lastGood(ctx context.Context, load *pb.LoadRequest, budget *budget) *Checkpoint {
	found, err := c.validate(ctx, &pb.ValidateRequest{
		Namespace:       load.GetNamespace(),
		WorkflowId:      load.GetWorkflowId(),
		Depth:           pb.ValidateDepth_VALIDATE_DEPTH_CHECKSUM,
		AcceptedFormats: load.GetAcceptedFormats(),
	}, budget)
	if err != nil {
		return nil
	}
	return found.LastGood
}

func (c *Client) load(ctx context.Context, request *pb.LoadRequest, budget *budget, options LoadOptions) (*Loaded, error) {
	maxBytes, err := options.maxBytes(defaultMaxBytes)
	if err != nil {
		return nil, err
	}
	response, err := c.first(ctx, request, budget, maxBytes)
	if err != nil {
		return nil, err
	}
	answer, parts, err := c.payload(ctx, request, response, budget, maxBytes, options.Progress)
	if err != nil {
		return nil, err
	}
	var records []Record
	if options.Records {
		included := response
		c.observe(included.GetStamp())
		if answer.GetCheckpoint().GetRevision() != response.GetCheckpoint().GetRevision() {
			included = nil
		}
		if records, err = c.recordsOf(ctx, answer.GetCheckpoint(), included, budget); err != nil {
			return nil, err
		}
	}
	info, fellBack, skipped := toCheckpoint(answer.GetCheckpoint()), answer.GetFellBack(), toFindings(answer.GetSkipped())
	if options.Records && answer != loadAnswer(response) && response.GetFellBack() {
		// The stream was of the checkpoint that the first answer had fallen back to.
		fellBack, skipped = true, append(toFindings(response.GetSkipped()), skipped...)
	}
	return &Loaded{
		Info: *info, Parts: parts, Format: info.Format, FellBack: fellBack, Skipped: skipped,
		HeadRevision: answer.GetHeadRevision(), Records: records,
	}, nil
}

// Returns the parts of the checkpoint that was found, from the answer or by streams, and the answer that they belong to.
func (c *Client) payload(
	ctx context.Context, request *pb.LoadRequest, response *pb.LoadResponse, budget *budget, maxBytes int64,
	progress Progress,
) (loadAnswer, map[string][]byte, error) {
	if response.GetPayloadIncluded() {
		parts, err := checkedParts(response.GetCheckpoint(), response.GetParts())
		return response, parts, err
	}
	var kept map[string]*memory
	header, err := c.stream(ctx, request, response, budget, maxBytes, progress,
		func(found *pb.Checkpoint) (map[string]sink, error) {
			kept = map[string]*memory{}
			sinks := map[string]sink{}
			for _, part := range found.GetParts() {
				kept[part.GetName()] = newMemory(part.GetSizeBytes())
				sinks[part.GetName()] = kept[part.GetName()]
			}
			return sinks, nil
		})
	if err != nil {
		return nil, nil, err
	}
	parts := map[string][]byte{}
	for name, each := range kept {
		parts[name] = each.data
	}
	return header, parts, nil
}

// Loads one part into a sink.
func (c *Client) loadPart(
	ctx context.Context, namespace, workflowID string, into sink, options LoadOptions,
) (*LoadedPart, error) {
	maxBytes, err := options.maxBytes(math.MaxInt64)
	if err != nil {
		return nil, err
	}
	options.Records = false
	request, budget := options.request(namespace, workflowID), newBudget(c.timeout(ctx))
	response, err := c.first(ctx, request, budget, maxBytes)
	if err != nil {
		return nil, err
	}
	wanted, err := wantedPart(response.GetCheckpoint(), options.Part)
	if err != nil {
		return nil, err
	}
	var answer loadAnswer = response
	if response.GetPayloadIncluded() {
		parts, err := checkedParts(response.GetCheckpoint(), response.GetParts())
		if err != nil {
			return nil, err
		}
		if _, err := into.Write(parts[wanted.GetName()]); err != nil {
			return nil, err
		}
	} else {
		answer, err = c.stream(ctx, request, response, budget, maxBytes, options.Progress,
			func(found *pb.Checkpoint) (map[string]sink, error) {
				if wanted, err = wantedPart(found, options.Part); err != nil {
					return nil, err
				}
				return map[string]sink{wanted.GetName(): into}, nil
			}, &pb.PartRange{Part: wanted.GetName()})
		if err != nil {
			return nil, err
		}
	}
	return &LoadedPart{
		Info: *toCheckpoint(answer.GetCheckpoint()), Part: toPart(wanted), FellBack: answer.GetFellBack(),
		Skipped: toFindings(answer.GetSkipped()), HeadRevision: answer.GetHeadRevision(),
	}, nil
}

// Returns the checkpoint, with its payload if that is small.
func (c *Client) first(
	ctx context.Context, request *pb.LoadRequest, budget *budget, maxBytes int64,
) (response *pb.LoadResponse, err error) {
	err = budget.spend(func(left time.Duration) error {
		response, err = unary(ctx, c, "Load", left, request, c.stub.Load)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := requireLoaded(response, request); err != nil {
		return nil, err
	}
	return response, requireSizes(response.GetCheckpoint(), maxBytes)
}

// Streams the payload of the checkpoint that was found, checks its digests, and returns the stream's header.
func (c *Client) stream(
	ctx context.Context, request *pb.LoadRequest, response *pb.LoadResponse, budget *budget, maxBytes int64,
	progress Progress, sinks func(*pb.Checkpoint) (map[string]sink, error), ranges ...*pb.PartRange,
) (*pb.LoadStreamHeader, error) {
	checkpointID := request.GetCheckpointId()
	if request.GetView() == pb.CheckpointView_CHECKPOINT_VIEW_FULL {
		// The checkpoint whose records are here. If it is found damaged now, fallback may still replace it.
		checkpointID = response.GetCheckpoint().GetCheckpointId()
	}
	if len(response.GetCheckpoint().GetParts()) == 1 {
		ranges = nil
	}
	receiving := &download{
		request: &pb.LoadStreamRequest{
			Namespace:       request.GetNamespace(),
			WorkflowId:      request.GetWorkflowId(),
			CheckpointId:    checkpointID,
			AcceptedFormats: request.GetAcceptedFormats(),
			Fallback:        request.GetFallback(),
			Ranges:          ranges,
		},
		sinks: sinks, progress: progress, maxBytes: maxBytes, announced: response.GetCheckpoint(),
	}
	seen := c.heads.watch(request)
	err := budget.spend(func(left time.Duration) error {
		return c.call(ctx, "LoadStream", "", seen, left, func(ctx context.Context, _ *pb.Attempt) error {
			// The last stream may have broken after its last chunk.
			if receiving.isWhole() {
				return nil
			}
			stream, err := c.stub.LoadStream(ctx, receiving.next())
			if err != nil {
				return err
			}
			if err := receiving.receive(stream); err != nil {
				return err
			}
			return seen.require(receiving.header)
		})
	})
	if err != nil {
		return nil, err
	}
	return receiving.header, receiving.requireDigests()
}
