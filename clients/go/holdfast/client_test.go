package holdfast_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"holdfast.dev/go/holdfast"
	"holdfast.dev/go/internal/testserver"
)

var format = holdfast.Format{Name: "test", Version: 1}

func connect(t *testing.T, target string, options ...holdfast.Option) *holdfast.Client {
	t.Helper()
	client, err := holdfast.NewClient(target, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func serve(t *testing.T, options ...holdfast.Option) *holdfast.Client {
	t.Helper()
	return connect(t, testserver.Start(t, t.TempDir()).Target, options...)
}

// Returns the result, or ends the test.
func must[Result any](t *testing.T) func(Result, error) Result {
	return func(result Result, err error) Result {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
}

func wants(t *testing.T, err error, reason holdfast.Reason) *holdfast.Error {
	t.Helper()
	var failure *holdfast.Error
	if !errors.Is(err, reason) || !errors.As(err, &failure) {
		t.Fatalf("got %v, expected %s", err, reason)
	}
	return failure
}

func random(size int) []byte {
	data := make([]byte, size)
	source := rand.NewChaCha8([32]byte{byte(size)})
	_, _ = source.Read(data)
	return data
}

func TestACheckpointIsSavedListedLoadedValidatedAndDeleted(t *testing.T) {
	ctx, client := t.Context(), serve(t, holdfast.WithProducer("tests", "7"))
	parts := []holdfast.Part{{Name: "b", Data: []byte("one")}, {Name: "a", Data: []byte{}}}
	options := holdfast.SaveOptions{CheckpointID: "c1", Labels: map[string]string{"step": "1"}, TTL: time.Hour}
	saved := must[*holdfast.Checkpoint](t)(client.Save(ctx, "n", "w", parts, format, options))
	if saved.Revision != 1 || saved.Producer.Version != "7" || saved.Expires.IsZero() || saved.Parts[0].Name != "b" {
		t.Fatalf("saved %+v", saved)
	}
	second := must[*holdfast.Checkpoint](t)(client.Save(ctx, "n", "w", holdfast.Bytes([]byte("two")), format, holdfast.SaveOptions{}))

	loaded := must[*holdfast.Loaded](t)(client.Load(ctx, "n", "w", holdfast.LoadOptions{CheckpointID: "c1"}))
	if string(loaded.Parts["b"]) != "one" || loaded.Parts["a"] == nil || loaded.Info.Labels["step"] != "1" || loaded.HeadRevision != 2 {
		t.Fatalf("loaded %+v", loaded)
	}
	var listed []string
	for found, err := range client.List(ctx, "n", "w", holdfast.ListOptions{PageSize: 1}) {
		listed = append(listed, must[*holdfast.Checkpoint](t)(found, err).CheckpointID)
	}
	if !slices.Equal(listed, []string{second.CheckpointID, "c1"}) {
		t.Fatalf("listed %v", listed)
	}
	labelled := holdfast.ListOptions{Labels: map[string]string{"step": "1"}, IDsOnly: true, Strict: true}
	for found, err := range client.List(ctx, "n", "", labelled) {
		if must[*holdfast.Checkpoint](t)(found, err).CheckpointID != "c1" {
			t.Fatalf("listed %+v", found)
		}
	}
	for found, err := range client.ListWorkflows(ctx, "n", "") {
		if must[*holdfast.WorkflowInfo](t)(found, err).CheckpointRevision != 2 {
			t.Fatalf("listed %+v", found)
		}
	}
	accepted := []holdfast.AcceptedFormat{{Name: "other", MinVersion: 1, MaxVersion: 2}}
	found := must[*holdfast.Validation](t)(client.Validate(ctx, "n", "w", holdfast.ValidateOptions{AcceptedFormats: accepted}))
	if found.Resumable || found.Findings[0].Reason != holdfast.ErrFormatIncompatible || found.Checkpoint.Revision != 2 {
		t.Fatalf("validated %+v", found)
	}
	must[int64](t)(client.Delete(ctx, "n", "w", "c1", holdfast.DeleteOptions{}))
	_, err := client.Load(ctx, "n", "w", holdfast.LoadOptions{CheckpointID: "c1"})
	wants(t, err, holdfast.ErrCheckpointDeleted)
	must[int64](t)(client.DeleteWorkflow(ctx, "n", "w", holdfast.DeleteOptions{Purge: true}))
	for found, err := range client.List(ctx, "n", "w", holdfast.ListOptions{}) {
		t.Fatalf("listed %+v %v", found, err)
	}
}

func TestAnErrorNamesReasonTraceAndFields(t *testing.T) {
	ctx, client := t.Context(), serve(t)
	_, err := client.Load(ctx, "n", "w", holdfast.LoadOptions{})
	failure := wants(t, err, holdfast.ErrWorkflowNotFound)
	if len(failure.TraceID) != 32 || failure.Retryable || failure.Advice == "" {
		t.Fatalf("%+v", failure)
	}
	_, err = client.Save(ctx, "n/n", "w", holdfast.Bytes(nil), format, holdfast.SaveOptions{RequestID: "r"})
	failure = wants(t, err, holdfast.ErrInvalidRequest)
	if failure.Violations[0].Field != "header.namespace" && failure.Violations[0].Field != "namespace" || failure.RequestID != "r" {
		t.Fatalf("%+v", failure)
	}
	_, err = client.Save(ctx, "n", "\xff", holdfast.Bytes(nil), format, holdfast.SaveOptions{})
	wants(t, err, holdfast.ErrInvalidRequest)
}

func Test64MiBGoThereAndBackInMemoryAndByFiles(t *testing.T) {
	ctx, client, folder := t.Context(), serve(t), t.TempDir()
	data := random(64 << 20)
	var sent int64
	options := holdfast.SaveOptions{Progress: func(done, _ int64) { sent = done }}
	must[*holdfast.Checkpoint](t)(client.Save(ctx, "n", "memory", holdfast.Bytes(data), format, options))
	loaded := must[*holdfast.Loaded](t)(client.Load(ctx, "n", "memory", holdfast.LoadOptions{}))
	if sent != int64(len(data)) || !bytes.Equal(loaded.Data(), data) {
		t.Fatal("the loaded payload differs")
	}
	source := filepath.Join(folder, "source")
	if err := os.WriteFile(source, data, 0o600); err != nil {
		t.Fatal(err)
	}
	file := must[*os.File](t)(os.Open(source))
	defer file.Close()
	parts := []holdfast.Part{{Name: "file", File: file}, {Name: "small", Data: []byte("x")}}
	must[*holdfast.Checkpoint](t)(client.Save(ctx, "n", "file", parts, format, holdfast.SaveOptions{}))
	target := filepath.Join(folder, "target")
	if err := os.WriteFile(target, []byte("before"), 0o640); err != nil {
		t.Fatal(err)
	}
	must[*holdfast.LoadedPart](t)(client.LoadFile(ctx, "n", "file", target, holdfast.LoadOptions{Part: "file"}))
	if found := must[[]byte](t)(os.ReadFile(target)); !bytes.Equal(found, data) {
		t.Fatal("the loaded file differs")
	}
	if mode := must[os.FileInfo](t)(os.Stat(target)).Mode().Perm(); mode != 0o640 {
		t.Fatalf("mode %o", mode)
	}
	var written bytes.Buffer
	must[*holdfast.LoadedPart](t)(client.LoadTo(ctx, "n", "file", &written, holdfast.LoadOptions{Part: "small"}))
	_, err := client.LoadFile(ctx, "n", "file", target, holdfast.LoadOptions{Part: "none"})
	wants(t, err, holdfast.ErrInvalidRequest)
	_, err = client.LoadFile(ctx, "n", "file", "/dev/null", holdfast.LoadOptions{Part: "small"})
	wants(t, err, holdfast.ErrInvalidRequest)
	_, err = client.Load(ctx, "n", "file", holdfast.LoadOptions{MaxBytes: 1000})
	wants(t, err, holdfast.ErrPayloadTooLarge)
	if found := must[[]os.DirEntry](t)(os.ReadDir(folder)); written.String() != "x" || len(found) != 2 {
		t.Fatalf("%q, %v", written.String(), found)
	}
}

func TestAKilledServerThatReturnsFinishesTheCallsAndLosesNothing(t *testing.T) {
	folder := t.TempDir()
	server := testserver.Start(t, folder)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := connect(t, server.Target)
	workflow := client.Workflow("n", "w")
	must[*holdfast.Writer](t)(workflow.AcquireWriter(ctx, holdfast.AcquireOptions{}))
	for step := range 20 {
		if step == 10 {
			// The save begins while no server runs, and the next server answers it.
			server.Kill()
			restarted := make(chan *testserver.Server)
			go func() {
				next, err := testserver.Run(folder, "--listen", server.Target)
				if err != nil {
					t.Error(err)
				}
				restarted <- next
			}()
			defer func() { (<-restarted).Stop() }()
		}
		must[*holdfast.Checkpoint](t)(workflow.Save(ctx, holdfast.Bytes([]byte{byte(step)}), format, holdfast.SaveOptions{}))
	}
	count := 0
	for _, err := range client.List(ctx, "n", "w", holdfast.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	if count != 20 {
		t.Fatalf("%d checkpoints, expected 20", count)
	}
}

func TestConcurrentCallsShareAPipelineAndSurviveTheKillOfItsServer(t *testing.T) {
	folder := t.TempDir()
	server := testserver.Start(t, folder)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var opened atomic.Int32
	count := func(
		ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string,
		streamer grpc.Streamer, options ...grpc.CallOption,
	) (grpc.ClientStream, error) {
		opened.Add(1)
		return streamer(ctx, description, connection, method, options...)
	}
	client := connect(t, server.Target, holdfast.WithDialOptions(grpc.WithStreamInterceptor(count)))
	saveAll := func() {
		var callers sync.WaitGroup
		for caller := range 32 {
			callers.Go(func() {
				workflow := client.Workflow("n", strconv.Itoa(caller))
				for step := range 10 {
					if _, err := workflow.Save(ctx, holdfast.Bytes([]byte{byte(step)}), format, holdfast.SaveOptions{}); err != nil {
						t.Errorf("caller %d, step %d: %v", caller, step, err)
						return
					}
				}
				_, err := client.DeleteWorkflow(ctx, "n", strconv.Itoa(caller), holdfast.DeleteOptions{})
				if err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
	}
	saveAll()
	if opened.Load() == 0 {
		t.Fatal("no pipeline was opened")
	}
	var killer sync.WaitGroup
	killer.Go(func() {
		server.Kill()
		next, err := testserver.Run(folder, "--listen", server.Target)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(next.Stop)
	})
	saveAll()
	killer.Wait()
}

func TestAFencedWriterCannotSaveAndAnotherHandleOfTheSameWriterCan(t *testing.T) {
	ctx, client := t.Context(), serve(t)
	old := client.Workflow("n", "w")
	must[*holdfast.Writer](t)(old.AcquireWriter(ctx, holdfast.AcquireOptions{Lease: time.Hour}))
	must[*holdfast.Checkpoint](t)(old.Save(ctx, holdfast.Bytes([]byte("1")), format, holdfast.SaveOptions{}))

	next := client.Workflow("n", "w")
	_, err := next.AcquireWriter(ctx, holdfast.AcquireOptions{})
	if failure := wants(t, err, holdfast.ErrLeaseHeld); failure.RetryAfter <= 0 {
		t.Fatalf("%+v", failure)
	}
	must[*holdfast.Writer](t)(next.AcquireWriter(ctx, holdfast.AcquireOptions{Force: true}))
	_, err = old.Save(ctx, holdfast.Bytes([]byte("2")), format, holdfast.SaveOptions{})
	wants(t, err, holdfast.ErrWriterFenced)

	must[*holdfast.Loaded](t)(next.Resume(ctx, format, holdfast.ResumeOptions{}))
	// A save under the handle's own epoch, which it has not seen.
	own := holdfast.SaveOptions{Epoch: next.Epoch()}
	unseen := must[*holdfast.Checkpoint](t)(client.Save(ctx, "n", "w", holdfast.Bytes([]byte("3")), format, own))
	saved := must[*holdfast.Checkpoint](t)(next.Save(ctx, holdfast.Bytes([]byte("4")), format, holdfast.SaveOptions{}))
	if saved.ParentID != unseen.CheckpointID {
		t.Fatalf("parent %s, expected %s", saved.ParentID, unseen.CheckpointID)
	}
	stale := holdfast.SaveOptions{ExpectedRevision: new(int64(1))}
	_, err = client.Save(ctx, "n", "w", holdfast.Bytes([]byte("5")), format, stale)
	wants(t, err, holdfast.ErrRevisionConflict)
}

func TestResumeMigratesAndNamesTheLastGoodCheckpoint(t *testing.T) {
	ctx, client := t.Context(), serve(t)
	workflow := client.Workflow("n", "w")
	must[*holdfast.Checkpoint](t)(workflow.Save(ctx, holdfast.Bytes([]byte("one")), format, holdfast.SaveOptions{}))
	var migrations holdfast.Migrations
	migrations.Register("test", 1, func(parts map[string][]byte) (map[string][]byte, error) {
		return map[string][]byte{"": append(parts[""], '!')}, nil
	})
	third := holdfast.Format{Name: "test", Version: 3}
	_, err := workflow.Resume(ctx, third, holdfast.ResumeOptions{Migrations: &migrations})
	wants(t, err, holdfast.ErrFormatIncompatible)
	migrations.Register("test", 2, func(parts map[string][]byte) (map[string][]byte, error) {
		return nil, errors.New("does not understand it")
	})
	_, err = workflow.Resume(ctx, third, holdfast.ResumeOptions{Migrations: &migrations})
	if failure := wants(t, err, holdfast.ErrFormatIncompatible); failure.LastGood == nil {
		t.Fatalf("%+v", failure)
	}
	second := holdfast.Format{Name: "test", Version: 2}
	loaded := must[*holdfast.Loaded](t)(workflow.Resume(ctx, second, holdfast.ResumeOptions{Migrations: &migrations}))
	if string(loaded.Data()) != "one!" || loaded.MigratedFrom.Version != 1 || loaded.Format != second {
		t.Fatalf("%+v", loaded)
	}
}

func TestRecordsGoInBatchesAndComeBackWithTheCheckpoint(t *testing.T) {
	ctx, client := t.Context(), serve(t)
	workflow := client.Workflow("n", "w")
	if err := workflow.Attach(ctx, "", nil, holdfast.AttachOptions{}); err == nil {
		t.Fatal("a handle without a checkpoint has attached")
	}
	must[*holdfast.Checkpoint](t)(workflow.Save(ctx, holdfast.Bytes([]byte("x")), format, holdfast.SaveOptions{}))
	var records []holdfast.Record
	for index := range 7 {
		records = append(records, holdfast.Record{Key: string(rune('a' + index)), Data: random(1 << 20)})
	}
	if err := workflow.Attach(ctx, "", records, holdfast.AttachOptions{RequestID: "r"}); err != nil {
		t.Fatal(err)
	}
	found := must[[]holdfast.Record](t)(workflow.Records(ctx, ""))
	// Too many for the answer: they take a call of their own.
	loaded := must[*holdfast.Loaded](t)(workflow.Load(ctx, holdfast.LoadOptions{Records: true}))
	if len(found) != 7 || len(loaded.Records) != 7 || !bytes.Equal(loaded.Records[6].Data, records[6].Data) {
		t.Fatalf("%d and %d records, expected 7", len(found), len(loaded.Records))
	}
}

func TestAServerNamesItsHeadByWhichARolledBackLogIsNoticed(t *testing.T) {
	ctx, client := t.Context(), serve(t)
	must[*holdfast.Checkpoint](t)(client.Save(ctx, "n", "w", holdfast.Bytes([]byte("x")), format, holdfast.SaveOptions{}))
	head, known := client.Head("n", "w")
	if !known || head.Revision != 1 || len(head.Digest) != 32 {
		t.Fatalf("%v %v", known, head)
	}
	must[*holdfast.Loaded](t)(client.Load(ctx, "n", "w", holdfast.LoadOptions{}))
	client.RememberHead("n", "w", holdfast.Head{Revision: 2, Digest: head.Digest})
	_, err := client.Load(ctx, "n", "w", holdfast.LoadOptions{})
	wants(t, err, holdfast.ErrRolledBack)
	_, err = client.Load(ctx, "n", "w", holdfast.LoadOptions{CheckpointID: "none"})
	wants(t, err, holdfast.ErrRolledBack)
}
