// Command resume is a job that saves its state after every step. Kill it, run it again, and it continues.
//
// Each step adds to a chain of digests, so that a step that is left out or done twice changes the result.
//
//	resume TARGET WORKFLOW
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"holdfast.dev/go/holdfast"
)

const steps = 20

var format = holdfast.Format{Name: "resume-example", Version: 2}

type state struct {
	Step  int    `json:"step"`
	Chain string `json:"chain"`
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: resume TARGET WORKFLOW")
	}
	result, err := run(context.Background(), os.Args[1], os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("result", result.Chain)
}

// Runs the job from its last saved step.
func run(ctx context.Context, target, workflowID string) (state, error) {
	var current state
	client, err := holdfast.NewClient(target)
	if err != nil {
		return current, err
	}
	defer func() { _ = client.Close() }()
	workflow := client.Workflow("examples", workflowID)
	// From now on an older process of this job cannot save.
	if _, err := workflow.AcquireWriter(ctx, holdfast.AcquireOptions{}); err != nil {
		return current, err
	}
	loaded, err := workflow.Resume(ctx, format, holdfast.ResumeOptions{Migrations: migrations()})
	switch {
	case errors.Is(err, holdfast.ErrCheckpointNotFound):
		fmt.Println("started")
	case err != nil:
		return current, err
	default:
		if err := json.Unmarshal(loaded.Data(), &current); err != nil {
			return current, err
		}
		fmt.Println("continued after step", current.Step)
	}
	for current.Step < steps {
		current = advance(current)
		encoded, err := json.Marshal(current)
		if err != nil {
			return current, err
		}
		if _, err := workflow.Save(ctx, holdfast.Bytes(encoded), format, holdfast.SaveOptions{}); err != nil {
			return current, err
		}
		fmt.Println("saved step", current.Step)
	}
	return current, nil
}

// Returns the state after the next step.
func advance(before state) state {
	time.Sleep(50 * time.Millisecond) // the work of one step
	digest := sha256.Sum256(fmt.Appendf(nil, "%s %d", before.Chain, before.Step+1))
	return state{before.Step + 1, hex.EncodeToString(digest[:])}
}

// Version 1 called the chain of digests "hash".
func migrations() *holdfast.Migrations {
	var known holdfast.Migrations
	known.Register("resume-example", 1, func(parts map[string][]byte) (map[string][]byte, error) {
		var old struct {
			Step int    `json:"step"`
			Hash string `json:"hash"`
		}
		if err := json.Unmarshal(parts[""], &old); err != nil {
			return nil, err
		}
		encoded, err := json.Marshal(state{old.Step, old.Hash})
		return map[string][]byte{"": encoded}, err
	})
	return &known
}
