package temporal_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	sdk "go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"holdfast.dev/go/holdfast"
	"holdfast.dev/go/internal/readme"
	"holdfast.dev/go/internal/testserver"
	"holdfast.dev/go/temporal"
)

const (
	size    = 300_000
	attempt = 2 * time.Second
	// The environment of a worker process: the addresses, the workflow's id, and where it kills itself, such as
	// "after store 2".
	environment = "HOLDFAST_TEST_WORKER"
)

func TestMain(m *testing.M) {
	if given := os.Getenv(environment); given != "" {
		arguments := strings.Split(given, "|")
		if err := work(arguments[0], arguments[1], arguments[2], arguments[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A driver that kills its process at one of the points around its calls.
type killing struct {
	*temporal.Driver
	points *points
}

type points struct {
	killAt string
	counts [4]atomic.Int32
}

func (p *points) at(index int, name string) {
	if fmt.Sprintf("%s %d", name, p.counts[index].Add(1)) == p.killAt {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (k *killing) Store(
	ctx converter.StorageDriverStoreContext, payloads []*commonpb.Payload,
) ([]converter.StorageDriverClaim, error) {
	k.points.at(0, "before store")
	defer k.points.at(1, "after store")
	return k.Driver.Store(ctx, payloads)
}

func (k *killing) Retrieve(
	ctx converter.StorageDriverRetrieveContext, claims []converter.StorageDriverClaim,
) ([]*commonpb.Payload, error) {
	k.points.at(2, "before retrieve")
	defer k.points.at(3, "after retrieve")
	return k.Driver.Retrieve(ctx, claims)
}

// Returns the model's answer to the conversation so far.
func extend(_ context.Context, text string) (string, error) {
	digest := sha256.Sum256([]byte(text))
	return strings.Repeat(hex.EncodeToString(digest[:]), size/64+1)[:size], nil
}

// A conversation of three answers, each to the one before.
func converse(ctx workflow.Context, text string) (string, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: attempt, RetryPolicy: &sdk.RetryPolicy{InitialInterval: 100 * time.Millisecond},
	})
	for range 3 {
		if err := workflow.ExecuteActivity(ctx, "extend", text).Get(ctx, &text); err != nil {
			return "", err
		}
	}
	return text, nil
}

// Starts the workflow unless it was started before, runs its worker until it ends, and prints the digest of its result.
func work(temporalAddress, holdfastAddress, id, killAt string) error {
	kept, err := holdfast.NewClient(holdfastAddress)
	if err != nil {
		return err
	}
	defer func() { _ = kept.Close() }()
	driver := &killing{temporal.NewDriver(kept, "payloads", temporal.Options{}), &points{killAt: killAt}}
	connection, err := client.Dial(client.Options{
		HostPort: temporalAddress, Logger: silent{},
		ExternalStorage: converter.ExternalStorage{Drivers: []converter.StorageDriver{driver}, PayloadSizeThreshold: 1000},
	})
	if err != nil {
		return err
	}
	defer connection.Close()
	served := worker.New(connection, id, worker.Options{StickyScheduleToStartTimeout: time.Second})
	served.RegisterWorkflowWithOptions(converse, workflow.RegisterOptions{Name: "converse"})
	served.RegisterActivityWithOptions(extend, activity.RegisterOptions{Name: "extend"})
	if err := served.Start(); err != nil {
		return err
	}
	defer served.Stop()
	options := client.StartWorkflowOptions{ID: id, TaskQueue: id, WorkflowTaskTimeout: attempt}
	run, err := connection.ExecuteWorkflow(context.Background(), options, "converse", strings.Repeat("x", size))
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &started) {
		run = connection.GetWorkflow(context.Background(), id, "")
	} else if err != nil {
		return err
	}
	var result string
	if err := run.Get(context.Background(), &result); err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(result))
	fmt.Println("result", len(result), hex.EncodeToString(digest[:]))
	return nil
}

type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}

// Starts Temporal's development server. Returns its address.
func startTemporal(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("temporal")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("no Temporal server: %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	_, port, _ := net.SplitHostPort(address)
	process := exec.Command(program, "server", "start-dev", "--headless", "--port", port, "--log-level", "never")
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	for ends := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		connection, err := client.Dial(client.Options{HostPort: address, Logger: silent{}})
		if err == nil {
			connection.Close()
			return address
		}
		if time.Now().After(ends) {
			t.Fatal(err)
		}
	}
}

const snippet = `package main

import (
	"fmt"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"holdfast.dev/go/holdfast"
	"holdfast.dev/go/temporal"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
%s
	return nil
}
`

func TestTheCodeOfTheReadmeRunsAsWritten(t *testing.T) {
	server := testserver.Start(t, t.TempDir())
	readme.Run(t, snippet, "HOLDFAST_TARGET="+server.Target, "TEMPORAL_ADDRESS="+startTemporal(t))
}

func runWorker(temporalAddress, holdfastAddress, id, killAt string) (string, error) {
	process := exec.Command(os.Args[0])
	process.Env = append(os.Environ(), environment+"="+strings.Join([]string{temporalAddress, holdfastAddress, id, killAt}, "|"))
	process.Stderr = os.Stderr
	var output bytes.Buffer
	process.Stdout = &output
	err := process.Run()
	return output.String(), err
}

func TestAWorkflowWhoseWorkerIsKilledEndsAsIfItHadNotBeen(t *testing.T) {
	address := startTemporal(t)
	server := testserver.Start(t, t.TempDir())
	calm, err := runWorker(address, server.Target, "calm", "")
	if err != nil || !strings.HasPrefix(calm, "result 300000 ") {
		t.Fatalf("%v: %s", err, calm)
	}
	t.Run("group", func(t *testing.T) {
		for _, point := range []string{"before store 1", "before store 2", "after store 3", "before retrieve 3", "after retrieve 2"} {
			t.Run(point, func(t *testing.T) {
				t.Parallel()
				id := strings.ReplaceAll(point, " ", "-")
				if output, err := runWorker(address, server.Target, id, point); err == nil {
					t.Fatalf("the worker was not killed: %s", output)
				}
				if result, err := runWorker(address, server.Target, id, ""); err != nil || result != calm {
					t.Fatalf("%v: %s, expected %s", err, result, calm)
				}
			})
		}
	})
}
