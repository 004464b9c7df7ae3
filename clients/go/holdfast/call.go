package holdfast

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "holdfast.dev/go/holdfastpb"
)

// Calls that stream, or whose work grows with the amount of stored data.
var long = map[string]bool{
	"CopyWorkflow": true, "DeleteCheckpoints": true, "DeleteWorkflow": true, "DeleteWorkflows": true,
	"LoadStream": true, "Prune": true, "SaveStream": true, "Validate": true,
}

// Makes one logical call: one deadline, one trace, and as many attempts as the deadline and the retry bucket allow.
//
// seen is what was seen of the workflow's log when the call began. send makes one attempt, with a context that holds the attempt's deadline and metadata. It may return any error of
// gRPC. An error that is neither of gRPC nor of this package, such as that of a file, ends the call as it is.
func (c *Client) call(
	ctx context.Context, method, requestID string, seen watch, timeout time.Duration,
	send func(ctx context.Context, attempt *pb.Attempt) error,
) (err error) {
	if cause := ctx.Err(); cause != nil {
		return ended(cause)
	}
	started := time.Now()
	deadline := started.Add(timeout)
	longest := c.options.retry.AttemptTimeout
	if longest == 0 && long[method] {
		longest = timeout
	} else if longest == 0 {
		longest = usualAttempt
	}
	logical := c.tracing.begin(ctx, method, requestID)
	defer func() { logical.end(err) }()
	var previous *Error
	hasRefreshed := false
	for number := 1; ; number++ {
		began := time.Now()
		credentials, failure := c.attempt(ctx, logical, number, started, deadline, longest, send)
		if failure == nil {
			c.bucket.succeeded()
			return nil
		}
		failed, ours := failure.(*Error)
		if !ours {
			return failure
		}
		if failed.TraceID == "" {
			failed.TraceID = logical.traceID
		}
		if failed.RequestID == "" {
			failed.RequestID = requestID
		}
		mayRefresh := c.mayRefresh(failed, credentials, hasRefreshed)
		if mayRefresh && (!hasRefreshed || time.Since(began) > acceptedTime) {
			hasRefreshed = true
			continue
		}
		pause, again := time.Duration(0), false
		if failed.Retryable || mayRefresh {
			pause, again = c.pauseAfter(number, failed, time.Until(deadline))
		}
		if !again {
			return explained(seen.requireOf(failed), previous)
		}
		if failed.Reason != ErrDeadlineExceeded {
			previous = failed
		}
		if err := c.wait(ctx, pause); err != nil {
			return explained(err, previous)
		}
	}
}

// Makes one attempt. Returns the token that it sent.
func (c *Client) attempt(
	ctx context.Context, logical *logicalCall, number int, started, deadline time.Time, longest time.Duration,
	send func(ctx context.Context, attempt *pb.Attempt) error,
) (credentials string, err error) {
	if c.isClosed() {
		return "", closedError()
	}
	spanned, end := logical.attempt(ctx, number)
	defer func() { end(err) }()
	if c.token != nil {
		credentials, err = c.token.current(spanned, time.Until(deadline))
		if err != nil {
			return "", c.border(ctx, err)
		}
		spanned = metadata.AppendToOutgoingContext(spanned, "authorization", "Bearer "+credentials)
	}
	elapsed := time.Since(started)
	timeout := max(min(time.Until(deadline), longest), time.Millisecond)
	limited, cancel := context.WithTimeout(spanned, timeout)
	defer cancel()
	err = send(limited, &pb.Attempt{Number: int32(number), Elapsed: durationpb.New(elapsed)})
	if err == nil {
		return credentials, nil
	}
	return credentials, c.border(ctx, err)
}

// Converts the error of an attempt to one of this package, except those of the caller's own files and writers.
func (c *Client) border(ctx context.Context, err error) error {
	if own, ok := err.(ownError); ok {
		return own.error
	}
	if c.isClosed() {
		return closedError()
	}
	if cause := ctx.Err(); errors.Is(cause, context.Canceled) {
		return ended(cause)
	}
	failure := fromStatus(err)
	if failure.Reason == ErrDeadlineExceeded && failure.cause == nil {
		failure.cause = context.DeadlineExceeded
	}
	return failure
}

// An error that the caller's file, writer or function returned. It ends a call as it is.
type ownError struct{ error }

// Returns how long to wait before the next attempt; false if there is none.
func (c *Client) pauseAfter(number int, failure *Error, left time.Duration) (time.Duration, bool) {
	if left <= 0 {
		return 0, false
	}
	wait, ok := c.bucket.take(left)
	if !ok {
		if c.options.retry.BurstRetries == 0 {
			failure.Message += "; it was not retried: this client's RetryPolicy allows no retries"
		} else {
			failure.Message += "; it was not retried: this client has made many retries and has paused them"
		}
		failure.Metadata["retries"] = "off"
		return 0, false
	}
	pause := max(wait, c.options.retry.pause(number, failure))
	// An attempt that ends before it can be answered would only hide the error of this one.
	return pause, pause+minAttempt < left
}

// Waits between two attempts.
func (c *Client) wait(ctx context.Context, pause time.Duration) *Error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ended(ctx.Err())
	case <-c.life.Done():
		return closedError()
	}
}

// Returns the error; if it only says that the time is up, adds why an earlier attempt failed.
func explained(failure, previous *Error) *Error {
	if previous != nil && failure.Reason == ErrDeadlineExceeded {
		failure.Message += "; an earlier attempt ended with " + string(previous.Reason) + ": " + previous.Message
		failure.Metadata["previous_reason"] = string(previous.Reason)
	}
	return failure
}

// Returns the time for a logical call: until the context's deadline, or the client's timeout if it has none.
func (c *Client) timeout(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return c.options.timeout
}

// Sends one request with retries, and returns its answer. Sets the request's attempt, if it has that field.
func unary[Request proto.Message, Response any](
	ctx context.Context, c *Client, method string, timeout time.Duration, request Request,
	send func(context.Context, Request, ...grpc.CallOption) (*Response, error),
) (*Response, error) {
	reflected := request.ProtoReflect()
	field := reflected.Descriptor().Fields().ByName("attempt")
	requestID := ""
	if keyed, ok := any(request).(interface{ GetRequestId() string }); ok {
		requestID = keyed.GetRequestId()
	}
	var response *Response
	seen := c.heads.watch(request)
	err := c.call(ctx, method, requestID, seen, timeout, func(ctx context.Context, attempt *pb.Attempt) (err error) {
		if field != nil {
			reflected.Set(field, protoreflect.ValueOfMessage(attempt.ProtoReflect()))
		}
		if response, err = send(ctx, request); err != nil {
			return err
		}
		return seen.require(response)
	})
	return response, err
}
