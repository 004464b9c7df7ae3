package holdfast_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"holdfast.dev/go/holdfast"
)

func Example() {
	ctx := context.Background()
	client, err := holdfast.NewClient(os.Getenv("HOLDFAST_TARGET"))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close() }()

	format := holdfast.Format{Name: "my-engine", Version: 1}
	if _, err := client.Save(ctx, "examples", "save", holdfast.Bytes([]byte("state")), format, holdfast.SaveOptions{}); err != nil {
		log.Fatal(err)
	}
	loaded, err := client.Load(ctx, "examples", "save", holdfast.LoadOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("revision %d: %s\n", loaded.Info.Revision, loaded.Data())
	// Output: revision 1: state
}

// A job that continues after a crash, and that no older process of it can disturb.
func ExampleWorkflow() {
	ctx := context.Background()
	client, err := holdfast.NewClient(os.Getenv("HOLDFAST_TARGET"))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close() }()

	format := holdfast.Format{Name: "my-engine", Version: 1}
	run := func() *holdfast.Workflow {
		job := client.Workflow("examples", "job")
		if _, err := job.AcquireWriter(ctx, holdfast.AcquireOptions{}); err != nil {
			log.Fatal(err)
		}
		loaded, err := job.Resume(ctx, format, holdfast.ResumeOptions{})
		if errors.Is(err, holdfast.ErrCheckpointNotFound) {
			fmt.Println("started")
		} else if err != nil {
			log.Fatal(err)
		} else {
			fmt.Printf("continued after %s\n", loaded.Data())
		}
		if _, err := job.Save(ctx, holdfast.Bytes([]byte("step 1")), format, holdfast.SaveOptions{}); err != nil {
			log.Fatal(err)
		}
		return job
	}
	old := run()
	run()
	_, err = old.Save(ctx, holdfast.Bytes([]byte("step 2")), format, holdfast.SaveOptions{})
	fmt.Println(errors.Is(err, holdfast.ErrWriterFenced))
	// Output:
	// started
	// continued after step 1
	// true
}

func ExampleClient_List() {
	ctx := context.Background()
	client, err := holdfast.NewClient(os.Getenv("HOLDFAST_TARGET"))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close() }()

	format := holdfast.Format{Name: "my-engine", Version: 1}
	for _, id := range []string{"first", "second"} {
		options := holdfast.SaveOptions{CheckpointID: id}
		if _, err := client.Save(ctx, "examples", "list", holdfast.Bytes([]byte(id)), format, options); err != nil {
			log.Fatal(err)
		}
	}
	for checkpoint, err := range client.List(ctx, "examples", "list", holdfast.ListOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(checkpoint.Revision, checkpoint.CheckpointID)
	}
	// Output:
	// 2 second
	// 1 first
}

func ExampleError() {
	client, err := holdfast.NewClient(os.Getenv("HOLDFAST_TARGET"))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close() }()

	_, err = client.Load(context.Background(), "examples", "nobody", holdfast.LoadOptions{})
	var failure *holdfast.Error
	if errors.As(err, &failure) {
		fmt.Println(failure.Reason, failure.Code, failure.Retryable)
	}
	// Output: WORKFLOW_NOT_FOUND NotFound false
}
