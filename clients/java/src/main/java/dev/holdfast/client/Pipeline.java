package dev.holdfast.client;

import dev.holdfast.v1.PipelineAnswer;
import dev.holdfast.v1.PipelineLimits;
import dev.holdfast.v1.PipelineRequest;
import dev.holdfast.v1.PipelineResponse;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.function.Consumer;

/**
 * The calls of one stream: which of them wait, which are in flight, what the next message holds.
 * The lock of {@link Pipelines} guards a pipeline.
 *
 * <p>Whatever waits when the stream can take a message goes into it, up to a size that other calls
 * need not wait for. A lone call goes at once.
 */
final class Pipeline {
  private static final int MESSAGE_BYTES = 512 << 10;
  // The most calls that a server accepts in one message.
  private static final int MESSAGE_CALLS = 1000;
  // What may be in flight before the server has stated its limits.
  private static final int FIRST_CALLS = 8;
  private static final long FIRST_BYTES = 1 << 20;

  final String credentials;
  private final Deque<PipelinedCall<?, ?>> waiting = new ArrayDeque<>();
  private final Map<Long, PipelinedCall<?, ?>> inFlight = new HashMap<>();
  private List<Long> cancelled = new ArrayList<>();
  private long bytesInFlight;
  private int maxCalls = FIRST_CALLS;
  private long maxBytes = FIRST_BYTES;
  private boolean wasUsed;
  private boolean hasSent;
  private boolean hasAnswered;
  private boolean isRetired;

  Pipeline(String credentials) {
    this.credentials = credentials;
  }

  void add(PipelinedCall<?, ?> call) {
    waiting.add(call);
    wasUsed = true;
  }

  /** Returns whether one call waits, and none is in flight. */
  boolean hasLoneCall() {
    return waiting.size() == 1 && inFlight.isEmpty();
  }

  /** Cancels a call on the server if this pipeline has sent it. Returns whether it has. */
  boolean cancel(PipelinedCall<?, ?> call) {
    if (inFlight.get(call.id()) != call || isRetired) {
      return false;
    }
    cancelled.add(call.id());
    return true;
  }

  /**
   * Returns the next message; null if nothing can be sent now.
   *
   * @param lastId the last id of a call
   * @param nowNanos the time
   */
  PipelineRequest message(long lastId, long nowNanos) {
    PipelineRequest.Builder message = PipelineRequest.newBuilder();
    int cancellations = Math.min(cancelled.size(), MESSAGE_CALLS);
    message.addAllCancelledCallIds(cancelled.subList(0, cancellations));
    cancelled = new ArrayList<>(cancelled.subList(cancellations, cancelled.size()));
    // Nothing follows the first calls until the server has answered, or a refusal could be taken
    // for a break.
    if (hasAnswered || inFlight.isEmpty()) {
      long id = lastId;
      long size = 0;
      while (!waiting.isEmpty() && message.getCallsCount() < MESSAGE_CALLS) {
        PipelinedCall<?, ?> call = waiting.peek();
        if (!call.isDone()) {
          if (!hasRoom(call) || (size > 0 && size + call.sizeBytes() > MESSAGE_BYTES)) {
            break;
          }
          id++;
          message.addCalls(call.sent(id, nowNanos));
          inFlight.put(id, call);
          bytesInFlight += call.sizeBytes();
          size += call.sizeBytes();
        }
        waiting.remove();
      }
    }
    boolean isEmpty = message.getCallsCount() == 0 && cancellations == 0;
    hasSent |= !isEmpty;
    return isEmpty ? null : message.build();
  }

  private boolean hasRoom(PipelinedCall<?, ?> call) {
    return inFlight.isEmpty()
        || (inFlight.size() < maxCalls && bytesInFlight + call.sizeBytes() <= maxBytes);
  }

  /**
   * Takes a message of the server: limits, and the outcomes of calls. Ids that are not in flight
   * are ignored.
   */
  void received(
      PipelineResponse response, BiConsumer<PipelinedCall<?, ?>, PipelineAnswer> answered) {
    hasAnswered = true;
    if (response.hasLimits()) {
      PipelineLimits limits = response.getLimits();
      maxCalls = Math.max(limits.getCalls(), 1);
      maxBytes = Math.max(limits.getBytes(), 1);
    }
    for (PipelineAnswer answer : response.getAnswersList()) {
      PipelinedCall<?, ?> call = inFlight.remove(answer.getCallId());
      if (call != null) {
        bytesInFlight -= call.sizeBytes();
        if (call.end()) {
          answered.accept(call, answer);
        }
      }
    }
  }

  boolean hasSent() {
    return hasSent;
  }

  boolean hasAnswered() {
    return hasAnswered;
  }

  boolean isRetired() {
    return isRetired;
  }

  /** Returns whether no call is open and none was added since this was last called. */
  boolean isIdle() {
    boolean isIdle = !wasUsed && waiting.isEmpty() && inFlight.isEmpty();
    wasUsed = false;
    return isIdle;
  }

  /** Calls a function with each call that has no outcome. */
  void forEachOpen(Consumer<PipelinedCall<?, ?>> use) {
    waiting.stream().filter(call -> !call.isDone()).forEach(use);
    inFlight.values().stream().filter(call -> !call.isDone()).forEach(use);
  }

  /** Takes no further calls. Returns those that were not sent. */
  List<PipelinedCall<?, ?>> retire() {
    isRetired = true;
    List<PipelinedCall<?, ?>> unsent = new ArrayList<>(waiting);
    waiting.clear();
    return unsent;
  }

  /** Sends nothing more. Returns the calls whose outcome is not known. */
  List<PipelinedCall<?, ?>> end() {
    List<PipelinedCall<?, ?>> calls = retire();
    calls.addAll(inFlight.values());
    inFlight.clear();
    cancelled.clear();
    return calls;
  }
}
