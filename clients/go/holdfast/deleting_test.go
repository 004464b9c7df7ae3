package holdfast_test

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"holdfast.dev/go/holdfast"
	pb "holdfast.dev/go/holdfastpb"
)

func workflows(t *testing.T, client *holdfast.Client, namespace string) []string {
	t.Helper()
	var found []string
	for each, err := range client.ListWorkflows(t.Context(), namespace, "") {
		if must[*holdfast.WorkflowInfo](t)(each, err).CheckpointRevision > 0 {
			found = append(found, each.WorkflowID)
		}
	}
	slices.Sort(found)
	return found
}

func TestCheckpointsAndWorkflowsAreDeletedByConditionsAndPrefixes(t *testing.T) {
	ctx, client := t.Context(), serve(t)
	save := func(workflow, step string) {
		t.Helper()
		options := holdfast.SaveOptions{CheckpointID: step, Labels: map[string]string{"step": step}}
		must[*holdfast.Checkpoint](t)(client.Save(ctx, "n", workflow, holdfast.Bytes([]byte(step)), format, options))
	}
	for _, workflow := range []string{"a.1", "a.2", "ab", "b"} {
		save(workflow, "1")
		save(workflow, "2")
	}
	deleted := func(count int64, err error) {
		t.Helper()
		if must[int64](t)(count, err) != 1 {
			t.Fatalf("%d were deleted, expected 1", count)
		}
	}
	first := holdfast.MatchLabels(map[string]string{"step": "1"})
	soon, formats := time.Now().Add(time.Hour), holdfast.AcceptedFormat{Name: "test", MinVersion: 1, MaxVersion: 1}
	deleted(client.DeleteCheckpoints(ctx, "n", "a.1", []holdfast.Match{first, holdfast.MatchCreatedBefore(soon)}, holdfast.DeleteOptions{}))
	if count := must[int64](t)(client.DeleteCheckpoints(ctx, "n", "a.1",
		[]holdfast.Match{holdfast.MatchCreatedAfter(soon)}, holdfast.DeleteOptions{})); count != 0 {
		t.Fatalf("%d checkpoints of the future were deleted", count)
	}
	deleted(client.DeleteCheckpoints(ctx, "n", "a.1", []holdfast.Match{holdfast.MatchAll(), holdfast.MatchFormats(formats)}, holdfast.DeleteOptions{}))
	if count := must[int64](t)(client.DeleteCheckpointsOfNamespace(ctx, "n", []holdfast.Match{first}, holdfast.DeleteOptions{})); count != 3 {
		t.Fatalf("%d were deleted, expected 3", count)
	}
	deleted(client.DeleteWorkflows(ctx, "n", "a.", holdfast.DeleteOptions{Purge: true}))
	if found := workflows(t, client, "n"); !slices.Equal(found, []string{"ab", "b"}) {
		t.Fatalf("%v are left", found)
	}
	if count := must[int64](t)(client.DeleteAllWorkflows(ctx, "n", holdfast.DeleteOptions{})); count != 2 {
		t.Fatalf("%d were deleted, expected 2", count)
	}
	if found := workflows(t, client, "n"); found != nil {
		t.Fatalf("%v are left", found)
	}
}

func TestADeletionThatLacksAValueIsRefusedBeforeItIsSent(t *testing.T) {
	ctx, client := t.Context(), connect(t, "127.0.0.1:1")
	all, label := holdfast.MatchAll(), holdfast.MatchLabels(map[string]string{"a": "b"})
	none := holdfast.DeleteOptions{}
	for name, deletion := range map[string]func() (int64, error){
		"no prefix":     func() (int64, error) { return client.DeleteWorkflows(ctx, "n", "", none) },
		"no workflow":   func() (int64, error) { return client.DeleteCheckpoints(ctx, "n", "", []holdfast.Match{all}, none) },
		"no conditions": func() (int64, error) { return client.DeleteCheckpoints(ctx, "n", "w", nil, none) },
		"no labels": func() (int64, error) {
			return client.DeleteCheckpoints(ctx, "n", "w", []holdfast.Match{holdfast.MatchLabels(nil), holdfast.MatchCreatedBefore(time.Now())}, none)
		},
		"no time": func() (int64, error) {
			return client.DeleteCheckpointsOfNamespace(ctx, "n", []holdfast.Match{label, holdfast.MatchCreatedBefore(time.Time{})}, none)
		},
		"no earliest time": func() (int64, error) {
			return client.DeleteCheckpoints(ctx, "n", "w", []holdfast.Match{label, holdfast.MatchCreatedAfter(time.Time{})}, none)
		},
		"no formats": func() (int64, error) {
			return client.DeleteCheckpoints(ctx, "n", "w", []holdfast.Match{label, holdfast.MatchFormats()}, none)
		},
		"formats alone": func() (int64, error) {
			return client.DeleteCheckpoints(ctx, "n", "w", []holdfast.Match{holdfast.MatchFormats(holdfast.AcceptedFormat{Name: "f", MinVersion: 1, MaxVersion: 1})}, none)
		},
		"no condition": func() (int64, error) {
			return client.DeleteCheckpoints(ctx, "n", "w", []holdfast.Match{label, {}}, none)
		},
		"twice": func() (int64, error) {
			return client.DeleteCheckpoints(ctx, "n", "w", []holdfast.Match{label, label}, none)
		},
		"purge": func() (int64, error) {
			return client.DeleteCheckpoints(ctx, "n", "w", []holdfast.Match{label}, holdfast.DeleteOptions{Purge: true})
		},
		"purge of a prune": func() (int64, error) { return client.Prune(ctx, "n", "w", 1, holdfast.DeleteOptions{Purge: true}) },
		"epoch of many":    func() (int64, error) { return client.DeleteWorkflows(ctx, "n", "w", holdfast.DeleteOptions{Epoch: 1}) },
		"epoch of a namespace": func() (int64, error) {
			return client.DeleteCheckpointsOfNamespace(ctx, "n", []holdfast.Match{label}, holdfast.DeleteOptions{Epoch: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := deletion()
			if failure := wants(t, err, holdfast.ErrInvalidRequest); len(failure.Violations) != 1 || failure.TraceID != "" {
				t.Fatalf("%+v", failure)
			}
		})
	}
}

func TestADeletionOfManyNamesTheWorkflowsThatStay(t *testing.T) {
	pages := []*pb.DeleteWorkflowsResponse{
		{Deleted: 2, NextPageToken: "1", Failed: []*pb.FailedDeletion{{WorkflowId: "w-1", Reason: "CHECKPOINT_CORRUPTED", Message: "damaged"}}},
		{NextPageToken: "2"},
		{Deleted: 1, Failed: []*pb.FailedDeletion{{WorkflowId: "w-2", Reason: "NEW_REASON", Message: "new"}}},
	}
	var ids []string
	server := &scripted{deleteWorkflows: func(request *pb.DeleteWorkflowsRequest) *pb.DeleteWorkflowsResponse {
		ids = append(ids, request.GetRequestId())
		page, _ := strconv.Atoi(request.GetPageToken())
		return pages[page]
	}}
	client := connect(t, server.start(t))
	deleted, err := client.DeleteWorkflows(t.Context(), "n", "w-", holdfast.DeleteOptions{})
	failure := wants(t, err, holdfast.ErrCheckpointCorrupted)
	if deleted != 3 || failure.Metadata["workflow_id"] != "w-1" || failure.Metadata["failed"] != "2" || failure.Metadata["deleted"] != "3" {
		t.Fatalf("%d deleted, %+v", deleted, failure)
	}
	if len(ids) != 3 || ids[0] != ids[2] || failure.RequestID != ids[0] {
		t.Fatalf("request ids %v, that of the error %s", ids, failure.RequestID)
	}
	pages[0].Failed = nil
	_, err = client.DeleteWorkflows(t.Context(), "n", "w-", holdfast.DeleteOptions{})
	if failure := wants(t, err, holdfast.ErrInternal); failure.Reason != "NEW_REASON" || failure.Code != codes.Internal {
		t.Fatalf("%+v", failure)
	}
}

func TestAHistoryHasPayloadsOfAnySizeAndTheirRecords(t *testing.T) {
	ctx, client := t.Context(), serve(t)
	large, last := random(2<<20), holdfast.Format{Name: "test", Version: 2}
	workflow := client.Workflow("n", "w")
	must[*holdfast.Checkpoint](t)(workflow.Save(ctx, holdfast.Bytes([]byte("1")), format, holdfast.SaveOptions{}))
	must[*holdfast.Checkpoint](t)(workflow.Save(ctx, holdfast.Bytes(large), format, holdfast.SaveOptions{}))
	must[*holdfast.Checkpoint](t)(workflow.Save(ctx, holdfast.Bytes([]byte("3")), last, holdfast.SaveOptions{}))
	if err := workflow.Attach(ctx, "", []holdfast.Record{{Key: "k", Data: []byte("v")}}, holdfast.AttachOptions{}); err != nil {
		t.Fatal(err)
	}
	history := client.History(ctx, "n", "w", holdfast.HistoryOptions{Records: true, PageSize: 2})
	for range 2 {
		var found []*holdfast.Loaded
		for each, err := range history {
			found = append(found, must[*holdfast.Loaded](t)(each, err))
		}
		if len(found) != 3 || string(found[0].Data()) != "3" || !bytes.Equal(found[1].Data(), large) || string(found[2].Data()) != "1" {
			t.Fatalf("a history of %d checkpoints", len(found))
		}
		if records := found[0].Records; len(records) != 1 || records[0].Key != "k" || found[0].Format != last || found[1].Records != nil {
			t.Fatalf("%+v", found[0])
		}
	}
	accepted := []holdfast.AcceptedFormat{{Name: "test", MinVersion: 2, MaxVersion: 3}}
	ends := func(options holdfast.HistoryOptions) (loaded int, err error) {
		for _, err := range client.History(ctx, "n", "w", options) {
			if err != nil {
				return loaded, err
			}
			loaded++
		}
		return loaded, nil
	}
	count, err := ends(holdfast.HistoryOptions{AcceptedFormats: accepted})
	if wants(t, err, holdfast.ErrFormatIncompatible); count != 1 {
		t.Fatalf("%d checkpoints before the error", count)
	}
	_, err = ends(holdfast.HistoryOptions{MaxBytes: 1 << 20})
	wants(t, err, holdfast.ErrPayloadTooLarge)
	_, err = ends(holdfast.HistoryOptions{MaxBytes: -1})
	wants(t, err, holdfast.ErrInvalidRequest)
	for each, err := range client.History(ctx, "n", "", holdfast.HistoryOptions{Formats: accepted}) {
		if string(must[*holdfast.Loaded](t)(each, err).Data()) != "3" {
			t.Fatalf("%+v", each)
		}
	}
	for range history {
		break
	}
}

func TestACopyHasAllCheckpointsAndBothHeadsAreWatched(t *testing.T) {
	ctx, client := t.Context(), serve(t)
	for _, state := range []string{"1", "2"} {
		must[*holdfast.Checkpoint](t)(client.Save(ctx, "n", "w", holdfast.Bytes([]byte(state)), format, holdfast.SaveOptions{}))
	}
	if count := must[int64](t)(client.CopyWorkflow(ctx, "n", "w", "copy", holdfast.CopyOptions{})); count != 2 {
		t.Fatalf("%d were copied, expected 2", count)
	}
	loaded := must[*holdfast.Loaded](t)(client.Load(ctx, "n", "copy", holdfast.LoadOptions{}))
	head, known := client.Head("n", "copy")
	if string(loaded.Data()) != "2" || !known || head.Revision != 2 {
		t.Fatalf("%+v, head %v", loaded, head)
	}
	_, err := client.CopyWorkflow(ctx, "n", "w", "copy", holdfast.CopyOptions{})
	wants(t, err, holdfast.ErrRevisionConflict)
	client.RememberHead("n", "w", holdfast.Head{Revision: 3, Digest: head.Digest})
	_, err = client.CopyWorkflow(ctx, "n", "w", "other", holdfast.CopyOptions{})
	if wants(t, err, holdfast.ErrRolledBack); errors.Is(err, holdfast.ErrRevisionConflict) {
		t.Fatal(err)
	}
	_, err = client.CopyWorkflow(ctx, "n", "w", "", holdfast.CopyOptions{})
	wants(t, err, holdfast.ErrInvalidRequest)
}
