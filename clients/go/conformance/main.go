// Command conformance is the driver of the conformance kit for this client: it reads commands from standard input, runs
// them, and writes their answers to standard output. conformance/README.md in the repository's root describes both.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"sync"

	"holdfast.dev/go/holdfast"
)

func main() {
	mutant := flag.String("mutant", "", "behave wrongly in one way")
	flag.Parse()
	if *mutant != "" && !slices.Contains(mutants, *mutant) {
		log.Fatalf("unknown mutant %q", *mutant)
	}
	if err := serve(os.Stdin, os.Stdout, *mutant); err != nil {
		log.Fatal(err)
	}
}

// Answers each command in a goroutine of its own, until the input ends.
func serve(input io.Reader, output io.Writer, mutant string) error {
	driver := &driver{mutant: mutant, clients: map[string]*holdfast.Client{}, handles: map[string]*holdfast.Workflow{}}
	defer driver.close()
	var running sync.WaitGroup
	defer running.Wait()
	var writing sync.Mutex
	answers := json.NewEncoder(output)
	commands := json.NewDecoder(input)
	for {
		var given command
		if err := commands.Decode(&given); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		running.Go(func() {
			answer := answerOf(driver.run(&given))
			answer["id"] = given.ID
			writing.Lock()
			defer writing.Unlock()
			if err := answers.Encode(answer); err != nil {
				log.Print(err)
			}
		})
	}
}

// A driver's clients and handles.
type driver struct {
	mutant  string
	mu      sync.Mutex
	clients map[string]*holdfast.Client
	handles map[string]*holdfast.Workflow
}

func (d *driver) close() {
	for _, client := range d.clients {
		_ = client.Close()
	}
}

// Runs a command and returns its answer.
func (d *driver) run(given *command) (any, error) {
	ctx := context.Background()
	if given.TimeoutMS > 0 && given.Op != "open" {
		limited, cancel := context.WithTimeout(ctx, milliseconds(given.TimeoutMS))
		defer cancel()
		ctx = limited
	}
	d.mu.Lock()
	client, handle := d.clients[given.Client], d.handles[given.Handle]
	d.mu.Unlock()
	switch given.Op {
	case "hello":
		return fields{"client": "Go", "version": holdfast.Version, "features": []string{"files", "pipeline", "rolled_back"}, "mutants": mutants}, nil
	case "open":
		opened, err := d.open(given)
		if err == nil {
			d.mu.Lock()
			d.clients[given.Client] = opened
			d.mu.Unlock()
		}
		return fields{}, err
	}
	if client == nil && handle == nil {
		return nil, fmt.Errorf("no client %q and no handle %q", given.Client, given.Handle)
	}
	switch given.Op {
	case "close":
		return fields{}, client.Close()
	case "workflow":
		d.mu.Lock()
		defer d.mu.Unlock()
		d.handles[given.Handle] = client.Workflow(given.Namespace, given.WorkflowID)
		return fields{}, nil
	case "state":
		return stateOf(handle), nil
	}
	return given.call(ctx, client, handle)
}

func (d *driver) open(given *command) (*holdfast.Client, error) {
	options, err := given.options(d.mutant)
	if err != nil {
		return nil, err
	}
	return holdfast.NewClient(given.target(d.mutant), options...)
}

type fields = map[string]any

// Returns the answer of a command: what a call returned, the error of the client, or what the driver cannot do.
func answerOf(result any, err error) fields {
	var failure *holdfast.Error
	switch {
	case errors.As(err, &failure):
		return fields{"error": errorOf(failure)}
	case err != nil:
		return fields{"fault": err.Error()}
	}
	return fields{"ok": result}
}
