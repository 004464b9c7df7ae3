package holdfast

import (
	"context"
	crypto "crypto/rand"
	"encoding/hex"
	"math/rand/v2"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"
)

// Spans of calls, through the OpenTelemetry API. The program chooses where they are sent.
//
// Each logical call has a client span, and each attempt a span below it, whose context goes to the server as W3C trace
// context. A program without tracing still has a trace id for each call, the same on every attempt: the server's spans
// and every error carry it.
type tracing struct {
	// nil: the global one of the program, at the time of each call.
	provider trace.TracerProvider
}

type logicalCall struct {
	tracer  trace.Tracer
	span    trace.Span
	context context.Context
	method  string
	traceID string
}

func (t tracing) begin(ctx context.Context, method, requestID string) *logicalCall {
	provider := t.provider
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	method = "holdfast.v1.CheckpointService/" + method
	tracer := provider.Tracer("holdfast.dev/go/holdfast", trace.WithInstrumentationVersion(Version))
	attributes := []attribute.KeyValue{attribute.String("rpc.system.name", "grpc"), attribute.String("rpc.method", method)}
	if requestID != "" {
		attributes = append(attributes, attribute.String("holdfast.request_id", requestID))
	}
	spanned, span := tracer.Start(ctx, method, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
	made := &logicalCall{tracer: tracer, span: span, context: spanned, method: method}
	// A program without spans of its own may still be part of a trace.
	if found := span.SpanContext(); found.IsValid() {
		made.traceID = found.TraceID().String()
	} else {
		made.traceID = hexadecimal(rand.Uint64(), rand.Uint64())
	}
	return made
}

// Begins an attempt. Returns the context that passes the trace on to the server, and what ends the attempt's span.
func (l *logicalCall) attempt(ctx context.Context, number int) (context.Context, func(error)) {
	if !l.span.IsRecording() {
		current := l.span.SpanContext()
		if !current.IsValid() {
			parent := "00-" + l.traceID + "-" + hexadecimal(rand.Uint64()) + "-01"
			return metadata.AppendToOutgoingContext(ctx, "traceparent", parent), func(error) {}
		}
		return withTrace(l.context), func(error) {}
	}
	spanned, span := l.tracer.Start(l.context, l.method+" attempt", trace.WithAttributes(
		attribute.String("rpc.system.name", "grpc"), attribute.String("rpc.method", l.method),
		attribute.Int("holdfast.attempt", number),
	))
	return withTrace(spanned), func(err error) { endSpan(span, err) }
}

func (l *logicalCall) end(err error) { endSpan(l.span, err) }

func withTrace(ctx context.Context) context.Context {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	for key, value := range carrier {
		ctx = metadata.AppendToOutgoingContext(ctx, key, value)
	}
	return ctx
}

func endSpan(span trace.Span, err error) {
	if !span.IsRecording() {
		span.End()
		return
	}
	if failure, ok := err.(*Error); ok {
		span.SetAttributes(
			attribute.String("rpc.response.status_code", failure.Code.String()), attribute.String("error.type", string(failure.Reason)),
			attribute.String("holdfast.reason", string(failure.Reason)),
		)
		span.SetStatus(codes.Error, failure.Message)
	} else if err == nil {
		span.SetAttributes(attribute.String("rpc.response.status_code", "OK"))
	}
	span.End()
}

// Returns an idempotency key that no other call has.
func newRequestID() string {
	var key [16]byte
	_, _ = crypto.Read(key[:]) // never fails
	return hex.EncodeToString(key[:])
}

func hexadecimal(words ...uint64) string {
	raw := make([]byte, 0, 16)
	for _, word := range words {
		for shift := 56; shift >= 0; shift -= 8 {
			raw = append(raw, byte(word>>shift))
		}
	}
	return hex.EncodeToString(raw)
}
