package holdfast

import (
	"context"
	"io"
	"strconv"
)

// How often one save gives way to other saves of the same writer.
const maxAdoptions = 10

// Workflow is a workflow as one writer sees it. It carries revision, epoch and checkpoint from call to call. It must not
// be used by several goroutines at a time.
//
// Once the handle knows a revision, each of its saves requires that nobody else has saved since, deleted the whole
// workflow, or acquired it. Deletions of checkpoints, prunes, collections, and saves under the handle's own epoch do not
// conflict.
type Workflow struct {
	client       *Client
	namespace    string
	workflowID   string
	revision     *int64
	epoch        int64
	checkpointID string
}

// Workflow returns a handle of one workflow.
func (c *Client) Workflow(namespace, workflowID string) *Workflow {
	return &Workflow{client: c, namespace: namespace, workflowID: workflowID}
}

// Revision returns the revision that the next save expects; false before the first call.
func (w *Workflow) Revision() (int64, bool) {
	if w.revision == nil {
		return 0, false
	}
	return *w.revision, true
}

// Epoch returns the epoch of this writer; 0 before AcquireWriter.
func (w *Workflow) Epoch() int64 { return w.epoch }

// CheckpointID returns the checkpoint that was saved last or resumed from; "" before that.
func (w *Workflow) CheckpointID() string { return w.checkpointID }

// AcquireWriter becomes the only writer. The handle keeps the revision that it knows: if somebody else has saved since,
// the next save is refused until the handle has resumed.
func (w *Workflow) AcquireWriter(ctx context.Context, options AcquireOptions) (*Writer, error) {
	writer, err := w.client.AcquireWriter(ctx, w.namespace, w.workflowID, options)
	if err != nil {
		return nil, err
	}
	w.epoch = writer.Epoch
	if w.revision == nil {
		w.revision = &writer.Revision
	}
	return writer, nil
}

// Save saves the next checkpoint. Its parent is the handle's checkpoint unless the options name one. The handle sets
// ExpectedRevision and Epoch. If all saves that conflict were made under the handle's own epoch, it continues from the
// newest of them.
func (w *Workflow) Save(ctx context.Context, payload []Part, format Format, options SaveOptions) (*Checkpoint, error) {
	content, err := newOutgoing(payload)
	if err != nil {
		return nil, err
	}
	for adoptions := 0; ; adoptions++ {
		current := options
		current.ExpectedRevision, current.Epoch = w.revision, w.epoch
		if current.ParentID == "" {
			current.ParentID = w.checkpointID
		}
		saved, err := w.client.save(ctx, w.namespace, w.workflowID, content, format, current)
		if err == nil {
			w.revision, w.checkpointID = &saved.Revision, saved.CheckpointID
			return saved, nil
		}
		head, isOwn := w.ownHead(err)
		if !isOwn || adoptions == maxAdoptions {
			return nil, err
		}
		found, err := w.client.Validate(ctx, w.namespace, w.workflowID, ValidateOptions{Depth: Marker})
		if err != nil {
			return nil, err
		}
		w.revision, w.checkpointID = &head, ""
		if found.Checkpoint != nil {
			w.checkpointID = found.Checkpoint.CheckpointID
		}
	}
}

// Returns the head's revision if an error is a conflict with saves that were all made under the handle's own epoch.
func (w *Workflow) ownHead(err error) (int64, bool) {
	failure, ok := err.(*Error)
	if !ok || failure.Reason != ErrRevisionConflict || w.revision == nil || w.epoch == 0 {
		return 0, false
	}
	var numbers [4]int64
	for index, name := range []string{"head_revision", "last_save_revision", "last_save_epoch", "last_other_save_revision"} {
		number, err := strconv.ParseInt(failure.Metadata[name], 10, 64)
		if err != nil {
			return 0, false
		}
		numbers[index] = number
	}
	head, saved, epoch, other := numbers[0], numbers[1], numbers[2], numbers[3]
	return head, epoch == w.epoch && other <= *w.revision && *w.revision < saved && saved <= head
}

// Resume resumes from the newest checkpoint: the next save has it as its parent and expects the current head.
func (w *Workflow) Resume(ctx context.Context, format Format, options ResumeOptions) (*Loaded, error) {
	loaded, err := w.client.Resume(ctx, w.namespace, w.workflowID, format, options)
	if err != nil {
		return nil, err
	}
	w.checkpointID, w.revision = loaded.Info.CheckpointID, nil
	if loaded.HeadRevision != 0 {
		w.revision = &loaded.HeadRevision
	}
	return loaded, nil
}

// Load loads a checkpoint. Only Resume changes the handle.
func (w *Workflow) Load(ctx context.Context, options LoadOptions) (*Loaded, error) {
	return w.client.Load(ctx, w.namespace, w.workflowID, options)
}

// LoadTo writes a part of a checkpoint to a writer, as [Client.LoadTo] does.
func (w *Workflow) LoadTo(ctx context.Context, writer io.Writer, options LoadOptions) (*LoadedPart, error) {
	return w.client.LoadTo(ctx, w.namespace, w.workflowID, writer, options)
}

// LoadFile writes a part of a checkpoint to a file, as [Client.LoadFile] does.
func (w *Workflow) LoadFile(ctx context.Context, path string, options LoadOptions) (*LoadedPart, error) {
	return w.client.LoadFile(ctx, w.namespace, w.workflowID, path, options)
}

// Prune deletes all checkpoints, except the newest ones and those that these need. Returns how many were deleted.
func (w *Workflow) Prune(ctx context.Context, keepLast int32) (int64, error) {
	return w.client.Prune(ctx, w.namespace, w.workflowID, keepLast, DeleteOptions{Epoch: w.epoch})
}

// Attach attaches records to a checkpoint; "" for the one that this handle saved last or resumed from.
func (w *Workflow) Attach(ctx context.Context, checkpointID string, records []Record, options AttachOptions) error {
	checkpointID, err := w.checkpointOr(checkpointID)
	if err != nil {
		return err
	}
	options.Epoch = w.epoch
	return w.client.Attach(ctx, w.namespace, w.workflowID, checkpointID, records, options)
}

// Records returns the records of a checkpoint; "" for the one that this handle saved last or resumed from.
func (w *Workflow) Records(ctx context.Context, checkpointID string) ([]Record, error) {
	checkpointID, err := w.checkpointOr(checkpointID)
	if err != nil {
		return nil, err
	}
	return w.client.Records(ctx, w.namespace, w.workflowID, checkpointID)
}

func (w *Workflow) checkpointOr(given string) (string, error) {
	if given == "" && w.checkpointID == "" {
		return "", invalid("checkpointID", "must be given before the handle has saved or resumed")
	}
	if given == "" {
		return w.checkpointID, nil
	}
	return given, nil
}
