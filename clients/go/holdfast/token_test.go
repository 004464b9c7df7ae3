package holdfast_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdfast.dev/go/holdfast"
	pb "holdfast.dev/go/holdfastpb"
)

func TestAClosedClientEndsTheCallsThatWaitForAToken(t *testing.T) {
	taking := make(chan struct{})
	client := connect(t, "127.0.0.1:1", holdfast.WithTokenSource(func(ctx context.Context) (string, error) {
		close(taking)
		<-ctx.Done()
		return "", ctx.Err()
	}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	var callers sync.WaitGroup
	for range 3 {
		callers.Go(func() {
			_, err := client.Load(ctx, "n", "w", holdfast.LoadOptions{})
			if !errors.Is(err, holdfast.ErrClientClosed) {
				t.Error(err)
			}
		})
	}
	<-taking
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	callers.Wait()
	_, err := client.Load(ctx, "n", "w", holdfast.LoadOptions{})
	wants(t, err, holdfast.ErrClientClosed)
}

func TestATokenThatIsRefusedAsExpiredAtOnceIsReplacedWithinTheRetryBudget(t *testing.T) {
	expired, err := status.New(codes.Unauthenticated, "expired").WithDetails(&errdetails.ErrorInfo{
		Domain: "holdfast.dev", Reason: "UNAUTHENTICATED", Metadata: map[string]string{"accepted": "1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &scripted{load: func(int, *pb.LoadRequest) (*pb.LoadResponse, error) { return nil, expired.Err() }}
	policy := holdfast.RetryPolicy{InitialBackoff: time.Millisecond, MaxBackoff: time.Millisecond, BurstRetries: 3}
	var given atomic.Int32
	source := func(context.Context) (string, error) {
		given.Add(1)
		return "token", nil
	}
	client := connect(t, server.start(t), holdfast.WithRetryPolicy(policy), holdfast.WithTokenSource(source))
	_, err = client.Load(t.Context(), "n", "w", holdfast.LoadOptions{})
	wants(t, err, holdfast.ErrUnauthenticated)
	if given.Load() != 5 || server.calls.Load() != 5 {
		t.Fatalf("%d tokens for %d calls, expected 5: one, its replacement, and 3 retries", given.Load(), server.calls.Load())
	}
}

func TestOptionsThatWereLostMakeNoConnectionPlainAndNoCallAnonymous(t *testing.T) {
	for name, option := range map[string]holdfast.Option{
		"tls": holdfast.WithTLS(nil), "token": holdfast.WithToken(""), "line": holdfast.WithToken("a\nb"),
		"source": holdfast.WithTokenSource(nil),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := holdfast.NewClient("127.0.0.1:7433", option)
			wants(t, err, holdfast.ErrInvalidRequest)
		})
	}
	_, err := connect(t, "127.0.0.1:1").LoadTo(t.Context(), "n", "w", nil, holdfast.LoadOptions{})
	wants(t, err, holdfast.ErrInvalidRequest)
}
