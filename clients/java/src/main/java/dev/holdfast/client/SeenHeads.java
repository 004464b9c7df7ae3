package dev.holdfast.client;

import com.google.protobuf.ByteString;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * The newest heads of the workflows that a client has used last, by which it notices a log that was
 * rolled back in the store.
 *
 * <p>A log only grows: no deletion, collection, repair of other entries or change of servers makes
 * its head older, and a revision keeps its digest. Concurrent calls are answered in any order. So
 * an answer is compared with what was seen when its call began.
 */
final class SeenHeads {
  // About 500 bytes each.
  static final int MOST_WORKFLOWS = 10_000;
  private static final int DIGEST_BYTES = 32;
  private static final Pattern REVISION = Pattern.compile("[0-9]{1,19}");
  private static final Pattern DIGEST = Pattern.compile("([0-9a-f]{64})?");
  private static final Watch NONE = new Watch(null, null, Optional.empty());

  private final Map<Name, Head> heads;

  SeenHeads() {
    // Ordered by use: the workflow that was not used for the longest time is forgotten first.
    heads =
        new LinkedHashMap<>(16, 0.75f, true) {
          private static final long serialVersionUID = 1L;

          @Override
          protected boolean removeEldestEntry(Map.Entry<Name, Head> eldest) {
            return size() > MOST_WORKFLOWS;
          }
        };
  }

  private record Name(String namespace, String workflowId) {}

  /** Returns the newest head of a workflow; empty if none is remembered. */
  Optional<Head> get(String namespace, String workflowId) {
    return get(new Name(namespace, workflowId));
  }

  /** Remembers a head, unless a newer one of the workflow is remembered. */
  void keep(String namespace, String workflowId, Head head) {
    keep(new Name(namespace, workflowId), head);
  }

  /** Forgets the head of a workflow. */
  synchronized void forget(String namespace, String workflowId) {
    heads.remove(new Name(namespace, workflowId));
  }

  private synchronized Optional<Head> get(Name name) {
    return Optional.ofNullable(heads.get(name));
  }

  private synchronized void keep(Name name, Head head) {
    heads.merge(name, head, (known, other) -> known.revision() < other.revision() ? other : known);
  }

  /**
   * Begins a call.
   *
   * @param request the request, or its header
   */
  Watch watch(Message request) {
    String workflowId = text(request, "workflow_id");
    if (workflowId.isEmpty()) {
      return NONE;
    }
    Name name = new Name(text(request, "namespace"), workflowId);
    return new Watch(this, name, get(name));
  }

  private static String text(Message message, String field) {
    FieldDescriptor found = message.getDescriptorForType().findFieldByName(field);
    return found == null ? "" : (String) message.getField(found);
  }

  /** What a client had seen of a workflow when a call began. */
  static final class Watch {
    private final SeenHeads seen;
    private final Name name;
    private final Optional<Head> before;

    private Watch(SeenHeads seen, Name name, Optional<Head> before) {
      this.seen = seen;
      this.name = name;
      this.before = before;
    }

    /**
     * Checks the head that an answer names, and remembers it.
     *
     * @throws RolledBackException it is older, or another one
     * @throws InternalException it cannot be a head
     */
    void require(Message answer) {
      FieldDescriptor field = answer.getDescriptorForType().findFieldByName("head");
      if (seen == null || field == null || !answer.hasField(field)) {
        return;
      }
      var head = (dev.holdfast.v1.Head) answer.getField(field);
      ByteString digest = head.getDigest();
      if (head.getRevision() < 0 || !(digest.isEmpty() || digest.size() == DIGEST_BYTES)) {
        throw Reasons.wrong(
            "a head with revision "
                + head.getRevision()
                + " and a digest of "
                + digest.size()
                + " bytes");
      }
      // The answer to a retry may name the entry of the earlier attempt.
      if (isReplay(answer) && head.getRevision() < before.map(Head::revision).orElse(0L)) {
        return;
      }
      compare(head.getRevision(), HexFormat.of().formatHex(digest.toByteArray()))
          .ifPresent(
              failure -> {
                throw Reasons.exception(failure, null);
              });
    }

    /** Returns the error of a call, or that of a rolled-back log if the head that it names is. */
    HoldfastException checked(HoldfastException error) {
      String revision = error.metadata().getOrDefault("head_revision", "");
      String digest = error.metadata().get("head_digest");
      if (seen == null
          || digest == null
          || error instanceof RolledBackException
          || !REVISION.matcher(revision).matches()
          || !DIGEST.matcher(digest).matches()) {
        return error;
      }
      try {
        return compare(Long.parseLong(revision), digest)
            .map(failure -> failure.withCall(error.traceId(), error.requestId()))
            .map(failure -> Reasons.exception(failure, error))
            .orElse(error);
      } catch (NumberFormatException above) {
        return error;
      }
    }

    /** Remembers a head that does not contradict the one before. Returns the failure otherwise. */
    private Optional<Failure> compare(long revision, String digest) {
      String problem = before.map(known -> problem(known, revision, digest)).orElse("");
      if (problem.isEmpty()) {
        if (revision > 0 && !digest.isEmpty()) {
          seen.keep(name, new Head(revision, digest));
        }
        return Optional.empty();
      }
      String message =
          "the log of workflow '"
              + name.workflowId()
              + "' in namespace '"
              + name.namespace()
              + "' was rolled back: "
              + problem;
      return Optional.of(
          Reasons.rolledBack(message)
              .withMetadata(
                  Map.of(
                      "namespace", name.namespace(),
                      "workflow_id", name.workflowId(),
                      "seen_revision", Long.toString(before.orElseThrow().revision()),
                      "seen_digest", before.orElseThrow().digest(),
                      "head_revision", Long.toString(revision),
                      "head_digest", digest)));
    }

    /** Returns how a head contradicts an earlier one; "" if it does not. */
    private static String problem(Head before, long revision, String digest) {
      if (revision > before.revision()) {
        return "";
      }
      if (revision == 0) {
        return "it has no entry any more, and its head was revision " + before.revision();
      }
      if (revision < before.revision()) {
        return "its head is revision " + revision + ", and was revision " + before.revision();
      }
      return digest.isEmpty() || digest.equals(before.digest())
          ? ""
          : "its head, revision " + revision + ", is another entry than before";
    }

    private static boolean isReplay(Message answer) {
      FieldDescriptor replayed = answer.getDescriptorForType().findFieldByName("replayed");
      return replayed != null && (boolean) answer.getField(replayed);
    }
  }
}
