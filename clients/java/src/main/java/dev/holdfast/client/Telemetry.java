package dev.holdfast.client;

import io.grpc.Metadata;
import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.metrics.DoubleHistogram;
import io.opentelemetry.api.metrics.LongCounter;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Context;
import java.util.HexFormat;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Spans and metrics of calls. A program without OpenTelemetry still has a trace id for each call,
 * the same on every attempt: the spans of the server and every error carry it.
 */
final class Telemetry {
  private static final String SERVICE = "holdfast.v1.CheckpointService/";
  private static final AttributeKey<String> METHOD = AttributeKey.stringKey("rpc.method");
  private static final AttributeKey<String> SYSTEM = AttributeKey.stringKey("rpc.system.name");
  private static final AttributeKey<String> STATUS =
      AttributeKey.stringKey("rpc.response.status_code");
  private static final AttributeKey<String> ERROR = AttributeKey.stringKey("error.type");
  private static final AttributeKey<String> REASON = AttributeKey.stringKey("holdfast.reason");
  private static final AttributeKey<String> REQUEST_ID =
      AttributeKey.stringKey("holdfast.request_id");
  private static final AttributeKey<Long> ATTEMPT = AttributeKey.longKey("holdfast.attempt");

  private final Tracer tracer;
  private final DoubleHistogram seconds;
  private final LongCounter retries;

  Telemetry(OpenTelemetry openTelemetry) {
    tracer = openTelemetry.getTracer("dev.holdfast.client", HoldfastClient.VERSION);
    var meter = openTelemetry.getMeter("dev.holdfast.client");
    seconds =
        meter
            .histogramBuilder("rpc.client.call.duration")
            .setUnit("s")
            .setDescription(
                "Logical calls with all their attempts, by method and reason of failure.")
            .build();
    retries =
        meter
            .counterBuilder("holdfast.client.retries")
            .setUnit("{attempt}")
            .setDescription("Attempts beyond the first, by method and reason.")
            .build();
  }

  LogicalSpan begin(String method, String requestId) {
    return new LogicalSpan(method, requestId);
  }

  /** A call with all its attempts, below the current span of the thread that began it. */
  final class LogicalSpan {
    private final String name;
    private final Attributes attributes;
    private final Context context;
    private final Span span;
    private final long started = System.nanoTime();
    private final boolean isTraced;
    private final String traceId;
    private Span attempt = Span.getInvalid();
    private String lastReason = "";

    private LogicalSpan(String method, String requestId) {
      name = SERVICE + method;
      attributes = Attributes.of(SYSTEM, "grpc", METHOD, name);
      Context parent = Context.current();
      var builder =
          tracer
              .spanBuilder(name)
              .setParent(parent)
              .setSpanKind(SpanKind.CLIENT)
              .setAllAttributes(attributes);
      if (!requestId.isEmpty()) {
        builder.setAttribute(REQUEST_ID, requestId);
      }
      span = builder.startSpan();
      context = parent.with(span);
      SpanContext own = span.getSpanContext();
      isTraced = own.isValid();
      traceId = isTraced ? own.getTraceId() : hex(16);
    }

    String traceId() {
      return traceId;
    }

    /** Opens the span of an attempt, and adds the metadata that passes the trace to the server. */
    void beginAttempt(int number, Metadata headers) {
      if (number > 1) {
        retries.add(1, attributes.toBuilder().put(ERROR, lastReason).build());
      }
      if (!isTraced) {
        put(headers, "traceparent", "00-" + traceId + "-" + hex(8) + "-01");
        return;
      }
      attempt =
          tracer
              .spanBuilder(name + " attempt")
              .setParent(context)
              .setAllAttributes(attributes)
              .setAttribute(ATTEMPT, (long) number)
              .startSpan();
      W3CTraceContextPropagator.getInstance()
          .inject(context.with(attempt), headers, Telemetry::put);
    }

    void endAttempt(Throwable failure) {
      end(attempt, failure);
      if (failure instanceof HoldfastException known) {
        lastReason = known.reason();
      }
    }

    void end(Throwable failure) {
      end(span, failure);
      var outcome = attributes.toBuilder().put(STATUS, "OK");
      if (failure instanceof HoldfastException known) {
        outcome.put(STATUS, known.code().name()).put(ERROR, known.reason());
      }
      seconds.record((System.nanoTime() - started) / 1e9, outcome.build());
    }

    private static void end(Span span, Throwable failure) {
      if (failure instanceof HoldfastException known) {
        span.setAttribute(STATUS, known.code().name());
        span.setAttribute(ERROR, known.reason());
        span.setAttribute(REASON, known.reason());
        span.setStatus(StatusCode.ERROR, known.detail());
      } else if (failure == null) {
        span.setAttribute(STATUS, "OK");
      }
      span.end();
    }
  }

  private static void put(Metadata headers, String name, String value) {
    headers.put(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER), value);
  }

  private static String hex(int bytes) {
    byte[] random = new byte[bytes];
    ThreadLocalRandom.current().nextBytes(random);
    return HexFormat.of().formatHex(random);
  }
}
