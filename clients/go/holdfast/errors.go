package holdfast

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
)

//go:generate go run holdfast.dev/go/internal/reasons ../../../proto/holdfast/v1/reasons.json reasons.go

// Reason is the reason for which a call failed, such as "WRITER_FENCED". The constants of this type are targets of
// [errors.Is]:
//
//	if errors.Is(err, holdfast.ErrWriterFenced) { … }
type Reason string

// Error returns the reason's name.
func (r Reason) Error() string { return string(r) }

// The reasons that only this client gives.
const (
	// The server cannot be reached, or the connection broke.
	ErrServerUnavailable Reason = "SERVER_UNAVAILABLE"
	// Client and server cannot agree on a connection: one refuses the other's certificate, or only one uses TLS.
	ErrHandshakeFailed Reason = "HANDSHAKE_FAILED"
	// The client was closed before the call or during it.
	ErrClientClosed Reason = "CLIENT_CLOSED"
	// The log of the workflow is older than this client has seen it, or another one: it was rolled back in the store.
	ErrRolledBack Reason = "ROLLED_BACK"
	// The caller's context was cancelled. The error also matches [context.Canceled].
	ErrCancelled Reason = "CANCELLED"
)

// FieldViolation names a field of a request that the server refused, and its problem.
type FieldViolation struct {
	Field       string
	Description string
}

// Error is the failure of a call. Every call returns its errors as *Error, except those of the caller's own files,
// writers and functions. Get it with [errors.As], or compare its reason with [errors.Is].
type Error struct {
	// Reason is the reason, also one that this version does not know.
	Reason Reason
	// Message says what went wrong, for people.
	Message string
	// Code is the gRPC status code.
	Code codes.Code
	// TraceID is the call's trace, 32 hex digits; the server's log has it.
	TraceID string
	// RequestID is the idempotency key, or "".
	RequestID string
	// Metadata holds the ids and values that belong to the message.
	Metadata map[string]string
	// Retryable reports whether the same request may succeed if it is sent again with the same request id.
	Retryable bool
	// Advice is the caller's next step.
	Advice string
	// Violations are the fields that the server refused.
	Violations []FieldViolation
	// RetryAfter is how long the server asks to wait; 0 if it does not say.
	RetryAfter time.Duration
	// LastGood is the newest checkpoint that could be resumed from, if Resume failed and found one.
	LastGood *Checkpoint

	// The reason that errors.Is compares: for an unknown reason, that of its status code.
	kind  Reason
	cause error
}

// Error returns reason, message and trace.
func (e *Error) Error() string {
	if e.TraceID == "" {
		return fmt.Sprintf("%s: %s", e.Reason, e.Message)
	}
	return fmt.Sprintf("%s: %s (trace %s)", e.Reason, e.Message, e.TraceID)
}

// Is reports whether target is the error's [Reason]. A reason that this version does not know also matches the reason
// that its status code stands for, such as ErrCheckpointCorrupted for DATA_LOSS.
func (e *Error) Is(target error) bool {
	reason, ok := target.(Reason)
	return ok && (reason == e.Reason || reason == e.kind)
}

// Unwrap returns the error that led to this one, such as [context.DeadlineExceeded]; nil if there is none.
func (e *Error) Unwrap() error { return e.cause }

type traits struct {
	code      codes.Code
	retryable bool
	advice    string
}

// Returns the error of a reason, with what the table says about it.
func of(reason Reason, format string, values ...any) *Error {
	found, known := traitsOf(reason)
	if !known {
		found, known = ownTraits(reason)
	}
	failure := &Error{Reason: reason, Message: fmt.Sprintf(format, values...), Metadata: map[string]string{}}
	if known {
		failure.kind, failure.Code, failure.Retryable, failure.Advice = reason, found.code, found.retryable, found.advice
	}
	return failure
}

// Returns the error of a reason that a server names beside an answer. The code stands for a reason that this version does
// not know.
func ofServer(reason Reason, code codes.Code, format string, values ...any) *Error {
	failure := of(reason, format, values...)
	if failure.kind == "" {
		failure.Code = code
		failure.setTraitsOfCode()
	}
	return failure
}

func ownTraits(reason Reason) (traits, bool) {
	switch reason {
	case ErrServerUnavailable:
		return traits{codes.Unavailable, true, "Check that the server runs and that the target is right."}, true
	case ErrHandshakeFailed:
		advice := "Correct the target, the client's TLS, or the server's certificate; a retry does not help."
		return traits{codes.Unavailable, false, advice}, true
	case ErrClientClosed:
		advice := "Open another client; a call that was running may be sent again with the same request id."
		return traits{codes.Canceled, false, advice}, true
	case ErrRolledBack:
		advice := "Stop, and ask the operator what happened to the store; after a restore, ForgetHead accepts its state."
		return traits{codes.DataLoss, false, advice}, true
	case ErrCancelled:
		advice := "A call that was running may or may not have taken effect; send it again with the same request id."
		return traits{codes.Canceled, false, advice}, true
	}
	return traits{}, false
}

// Gives an error of a reason that this version does not know the traits of its status code. NOT_FOUND has no reason,
// because a caller would take it for a workflow that has not begun.
func (e *Error) setTraitsOfCode() {
	kinds := map[codes.Code]Reason{
		codes.DataLoss:         ErrCheckpointCorrupted,
		codes.DeadlineExceeded: ErrDeadlineExceeded,
		codes.Internal:         ErrInternal,
		codes.InvalidArgument:  ErrInvalidRequest,
		codes.PermissionDenied: ErrPermissionDenied,
		codes.Unauthenticated:  ErrUnauthenticated,
		codes.Unavailable:      ErrServerUnavailable,
		codes.Unimplemented:    ErrUnimplemented,
	}
	e.kind = kinds[e.Code]
	e.Retryable = e.Code == codes.Unavailable || e.Code == codes.DeadlineExceeded ||
		(e.Code == codes.ResourceExhausted && e.RetryAfter > 0)
	e.Advice = "Upgrade the client: it does not know this reason."
}

func invalid(field, format string, values ...any) *Error {
	problem := fmt.Sprintf(format, values...)
	failure := of(ErrInvalidRequest, "%s: %s", field, problem)
	failure.Violations = []FieldViolation{{Field: field, Description: problem}}
	return failure
}

// Returns the error of a server that sent something which no correct server sends.
func wrongAnswer(format string, values ...any) *Error {
	failure := of(ErrInternal, "the server sent %s", fmt.Sprintf(format, values...))
	failure.Advice = "Check that the target is a Holdfast server, and upgrade it."
	return failure
}

func inTransit(format string, values ...any) *Error {
	return of(ErrCheckpointCorrupted, "the payload was damaged in transit: %s", fmt.Sprintf(format, values...))
}

func closedError() *Error {
	return of(ErrClientClosed, "the client is closed; a call that was running may or may not have taken effect")
}

// Returns the error of a call whose context has ended.
func ended(cause error) *Error {
	reason := ErrCancelled
	if errors.Is(cause, context.DeadlineExceeded) {
		reason = ErrDeadlineExceeded
	}
	failure := of(reason, "the caller's context has ended: %v", cause)
	failure.cause = cause
	return failure
}
