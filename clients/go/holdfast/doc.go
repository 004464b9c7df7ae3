// Package holdfast is the Go client of Holdfast, the checkpoint store for workflow engines: it saves the state of a
// workflow and loads it after a crash, whole, verified, in a format that the caller reads, or with a precise reason why
// not.
//
// Each call is one logical call: it is retried with the same idempotency key until it succeeds, fails for good, or the
// deadline of its context passes (the client's timeout if the context has none). A retried save never takes effect twice.
// Payloads of any size are streamed, go on where a broken stream ended, and are checked against their digests.
//
// A writer that must be the only one acquires its workflow first. [Client.Workflow] returns a handle that carries epoch
// and revision from call to call.
//
// Errors are of type *[Error]. Compare their reason with [errors.Is]:
//
//	if errors.Is(err, holdfast.ErrWorkflowNotFound) { … start from the beginning }
//
// Spans are recorded through OpenTelemetry if the program has a tracer provider. Without one, each call still sends a
// traceparent, and each error has the trace id under which the server's log has the call.
package holdfast
