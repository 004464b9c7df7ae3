package dev.holdfast.conformance;

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.Descriptors.EnumDescriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.holdfast.v1.Attempt;
import dev.holdfast.v1.Checkpoint;
import dev.holdfast.v1.LoadResponse;
import dev.holdfast.v1.LoadStreamFinish;
import dev.holdfast.v1.LoadStreamResponse;
import dev.holdfast.v1.PartInfo;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.zip.CRC32C;

/** Wrong behaviour, one kind for each name, put between the client and its connection. */
final class Mutants implements ClientInterceptor {
  static final List<String> NAMES =
      List.of(
          "always_falls_back",
          "believes_answers",
          "drops_accepted_formats",
          "drops_attempt",
          "drops_deadline",
          "drops_epoch",
          "drops_expected_revision",
          "drops_heads",
          "drops_stamp",
          "drops_token",
          "drops_traceparent",
          "first_address_only",
          "first_attempt_always",
          "forgets_ranges",
          "forgets_upload",
          "ignores_budget",
          "ignores_finish",
          "ignores_retry_info",
          "ignores_tls",
          "never_retries",
          "new_request_id_per_attempt",
          "reads_one_page",
          "receives_4_mib",
          "renews_deadline",
          "repairs_digests",
          "retries_final_errors",
          "reuses_request_id",
          "reuses_writer_request_id",
          "rounds_int64",
          "stops_at_empty_page",
          "strips_details",
          "trusts_included");

  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
  private static final Duration USUAL = Duration.ofSeconds(10);
  private static final Map<String, String> CLEARED =
      Map.of(
          "drops_accepted_formats", "accepted_formats",
          "drops_attempt", "attempt",
          "drops_epoch", "epoch",
          "drops_expected_revision", "expected_revision",
          "drops_stamp", "observed_stamp",
          "forgets_ranges", "ranges");
  private static final Map<String, String> UNSENT =
      Map.of(
          "drops_traceparent", "traceparent",
          "drops_token", "authorization",
          "forgets_upload", "holdfast-resume");

  private static final Set<String> IN_DETAILS =
      Set.of("drops_heads", "ignores_retry_info", "strips_details");

  private final String mutant;
  private final Duration timeout;

  Mutants(String mutant, Optional<Duration> timeout) {
    this.mutant = mutant;
    this.timeout = timeout.orElse(USUAL);
  }

  @Override
  public <Q, R> ClientCall<Q, R> interceptCall(
      MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
    CallOptions changed =
        switch (mutant) {
          case "drops_deadline" -> options.withDeadline(null);
          case "renews_deadline" ->
              options.withDeadlineAfter(timeout.toNanos(), TimeUnit.NANOSECONDS);
          default -> options;
        };
    return new SimpleForwardingClientCall<>(next.newCall(method, changed)) {
      private Message request;

      @Override
      public void start(Listener<R> listener, Metadata headers) {
        String unsent = UNSENT.get(mutant);
        if (unsent != null) {
          headers.removeAll(Metadata.Key.of(unsent, Metadata.ASCII_STRING_MARSHALLER));
        }
        Metadata again = new Metadata();
        again.merge(headers);
        super.start(
            new SimpleForwardingClientCallListener<>(listener) {
              private long size;
              private boolean isFinished;

              @Override
              @SuppressWarnings("unchecked")
              public void onMessage(R message) {
                if (mutant.equals("receives_4_mib")
                    && ((Message) message).getSerializedSize() > 4 << 20) {
                  cancel("a message larger than 4 MiB", null);
                  return;
                }
                if (message instanceof LoadStreamResponse streamed) {
                  size += streamed.getChunk().getData().size();
                  isFinished |= streamed.hasFinish();
                }
                super.onMessage((R) answer((Message) message, request));
              }

              @Override
              @SuppressWarnings("unchecked")
              public void onClose(Status status, Metadata trailers) {
                boolean isFinal = !status.isOk() && status.getCode() != Status.Code.UNAVAILABLE;
                if (mutant.equals("retries_final_errors")
                    && isFinal
                    && method.getType() == MethodDescriptor.MethodType.UNARY) {
                  ClientCall<Q, R> second = next.newCall(method, changed);
                  second.start(listener, again);
                  second.request(2);
                  second.sendMessage((Q) request);
                  second.halfClose();
                  return;
                }
                boolean isLoad = method.getBareMethodName().equals("LoadStream");
                if (mutant.equals("ignores_finish") && isLoad && status.isOk() && !isFinished) {
                  LoadStreamFinish finish =
                      LoadStreamFinish.newBuilder().setSizeBytes(size).build();
                  super.onMessage((R) LoadStreamResponse.newBuilder().setFinish(finish).build());
                }
                boolean isTooLarge = "a message larger than 4 MiB".equals(status.getDescription());
                super.onClose(isTooLarge ? Status.RESOURCE_EXHAUSTED : status, trailers(trailers));
              }
            },
            headers);
      }

      @Override
      @SuppressWarnings("unchecked")
      public void sendMessage(Q message) {
        Message changed = changed((Message) message);
        request = request == null ? changed : request;
        super.sendMessage((Q) changed);
      }
    };
  }

  /** Returns a request as the mutant changes it. */
  private Message changed(Message given) {
    Message.Builder request = given.toBuilder();
    change(request);
    FieldDescriptor header = field(request, "header");
    if (header != null && given.hasField(header)) {
      Message.Builder inner = ((Message) given.getField(header)).toBuilder();
      change(inner);
      request.setField(header, inner.build());
    }
    return request.build();
  }

  private void change(Message.Builder request) {
    FieldDescriptor cleared = field(request, CLEARED.getOrDefault(mutant, ""));
    if (cleared != null) {
      request.clearField(cleared);
    }
    boolean isWriter = request.getDescriptorForType().getName().equals("AcquireWriterRequest");
    switch (mutant) {
      case "always_falls_back" -> {
        FieldDescriptor fallback = field(request, "fallback");
        if (fallback != null) {
          EnumDescriptor values = fallback.getEnumType();
          request.setField(fallback, values.findValueByName("FALLBACK_LAST_GOOD"));
        }
      }
      case "first_attempt_always" ->
          set(request, "attempt", Attempt.newBuilder().setNumber(1).build());
      case "new_request_id_per_attempt" -> set(request, "request_id", UUID.randomUUID().toString());
      case "reuses_request_id" -> set(request, "request_id", "same");
      case "reuses_writer_request_id" -> {
        if (isWriter) {
          set(request, "request_id", "same");
        }
      }
      case "rounds_int64" -> {
        round(request, "epoch");
        round(request, "expected_revision");
      }
      default -> {}
    }
  }

  /** Returns an answer as the mutant changes it. */
  private Message answer(Message given, Message request) {
    Message.Builder answer = given.toBuilder();
    switch (mutant) {
      case "trusts_included" -> {
        set(answer, "payload_included", true);
        set(answer, "records_included", true);
      }
      case "repairs_digests" -> {
        if (given instanceof LoadResponse load) {
          return repaired(load);
        }
      }
      case "drops_heads" -> {
        FieldDescriptor head = field(answer, "head");
        if (head != null) {
          answer.clearField(head);
        }
      }
      case "believes_answers" -> believe(answer, request);
      case "rounds_int64" -> round(answer, "epoch");
      case "reads_one_page", "stops_at_empty_page" -> {
        FieldDescriptor token = field(answer, "next_page_token");
        boolean isEmpty =
            given.getAllFields().keySet().stream().noneMatch(FieldDescriptor::isRepeated);
        if (token != null && (isEmpty || mutant.equals("reads_one_page"))) {
          answer.clearField(token);
        }
      }
      case "forgets_upload" -> {
        FieldDescriptor found = field(answer, "found");
        if (found != null) {
          return given.getDefaultInstanceForType();
        }
      }
      default -> {}
    }
    return answer.build();
  }

  private static Message repaired(LoadResponse given) {
    Map<String, ByteString> data = new HashMap<>();
    given.getPartsList().forEach(part -> data.put(part.getName(), part.getData()));
    LoadResponse.Builder answer = given.toBuilder();
    for (PartInfo.Builder part : answer.getCheckpointBuilder().getPartsBuilderList()) {
      byte[] bytes = data.getOrDefault(part.getName(), ByteString.EMPTY).toByteArray();
      CRC32C checksum = new CRC32C();
      checksum.update(bytes);
      try {
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(bytes);
        part.setSha256(ByteString.copyFrom(digest)).setCrc32C((int) checksum.getValue());
      } catch (NoSuchAlgorithmException missing) {
        throw new IllegalStateException(missing);
      }
    }
    return answer.build();
  }

  /** Names what was requested in the checkpoint of an answer. */
  private static void believe(Message.Builder answer, Message request) {
    FieldDescriptor found = field(answer, "checkpoint");
    if (found == null) {
      return;
    }
    FieldDescriptor header = request.getDescriptorForType().findFieldByName("header");
    Message named = header == null ? request : (Message) request.getField(header);
    Checkpoint.Builder checkpoint = ((Checkpoint) answer.getField(found)).toBuilder();
    checkpoint.setNamespace(text(named, "namespace")).setWorkflowId(text(named, "workflow_id"));
    if (!text(named, "checkpoint_id").isEmpty()) {
      checkpoint.setCheckpointId(text(named, "checkpoint_id"));
    }
    answer.setField(found, checkpoint.build());
  }

  private Metadata trailers(Metadata given) {
    byte[] details = given.get(DETAILS);
    if (details == null || !IN_DETAILS.contains(mutant)) {
      return given;
    }
    Metadata trailers = new Metadata();
    trailers.merge(given);
    trailers.removeAll(DETAILS);
    trailers.removeAll(Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER));
    if (!mutant.equals("strips_details")) {
      try {
        com.google.rpc.Status status = com.google.rpc.Status.parseFrom(details);
        com.google.rpc.Status.Builder kept = status.toBuilder().clearDetails();
        for (Any each : status.getDetailsList()) {
          if (mutant.equals("drops_heads") && each.is(ErrorInfo.class)) {
            kept.addDetails(Any.pack(withoutHead(each.unpack(ErrorInfo.class))));
          } else if (!mutant.equals("ignores_retry_info") || !each.is(RetryInfo.class)) {
            kept.addDetails(each);
          }
        }
        trailers.put(DETAILS, kept.build().toByteArray());
      } catch (InvalidProtocolBufferException damaged) {
        throw new IllegalStateException(damaged);
      }
    }
    return trailers;
  }

  private static ErrorInfo withoutHead(ErrorInfo info) {
    return info.toBuilder().removeMetadata("head_revision").removeMetadata("head_digest").build();
  }

  private static FieldDescriptor field(Message.Builder message, String name) {
    return message.getDescriptorForType().findFieldByName(name);
  }

  private static void set(Message.Builder message, String name, Object value) {
    FieldDescriptor found = field(message, name);
    if (found != null) {
      message.setField(found, value);
    }
  }

  private static void round(Message.Builder message, String name) {
    FieldDescriptor found = field(message, name);
    if (found != null && (!found.hasPresence() || message.hasField(found))) {
      message.setField(found, (long) (double) (Long) message.getField(found));
    }
  }

  private static String text(Message message, String name) {
    FieldDescriptor found = message.getDescriptorForType().findFieldByName(name);
    return found == null ? "" : (String) message.getField(found);
  }
}
