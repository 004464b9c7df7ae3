package dev.holdfast.client;

import com.google.protobuf.ByteString;
import dev.holdfast.v1.Checkpoint;
import dev.holdfast.v1.Fallback;
import dev.holdfast.v1.ListLogRequest;
import dev.holdfast.v1.LogEntry;
import dev.holdfast.v1.Part;
import dev.holdfast.v1.PartInfo;
import dev.holdfast.v1.SaveHeader;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Checks of the answers of a server before they reach the caller. An answer must name what was
 * requested, must not contradict itself, and must not be larger than it announces or than the
 * caller allows.
 */
final class Answers {
  // How encrypted data is recognised: by this label of a checkpoint, or by these bytes of a record.
  private static final String COVER_LABEL = "holdfast-sealed-00";
  private static final ByteString SEALED =
      ByteString.fromHex("89").concat(ByteString.copyFromUtf8("HFSEAL1"));
  private static final long RECORDS_BYTES = 512L << 20;
  // The largest array of most Java runtimes.
  private static final long ARRAY_BYTES = Integer.MAX_VALUE - 8L;

  private Answers() {}

  /** Checks that a checkpoint is one that was requested; "" for any workflow or id. */
  static void requireNamed(
      Checkpoint found, String namespace, String workflowId, String checkpointId) {
    require("namespace", found.getNamespace(), namespace);
    require("workflow_id", found.getWorkflowId(), workflowId);
    require("checkpoint_id", found.getCheckpointId(), checkpointId);
    if (found.getCheckpointId().isEmpty()
        || found.getWorkflowId().isEmpty()
        || found.getRevision() < 1) {
      throw Reasons.wrong("a checkpoint without id, workflow or revision");
    }
  }

  private static void require(String field, String found, String expected) {
    if (!expected.isEmpty() && !found.equals(expected)) {
      throw Reasons.wrong(field + " '" + found + "', but '" + expected + "' was requested");
    }
  }

  /** Checks the entries of a page of a log, which come newest first. */
  static void requireEntries(List<LogEntry> page, ListLogRequest request) {
    long below = Long.MAX_VALUE;
    for (LogEntry each : page) {
      if (each.getFirstRevision() < 1 || each.getRevision() < each.getFirstRevision()) {
        throw Reasons.wrong(
            "an entry of the revisions " + each.getFirstRevision() + " to " + each.getRevision());
      }
      if (each.getRevision() >= below) {
        throw Reasons.wrong("revision " + each.getRevision() + " of a log after " + below);
      }
      if (LogEntryKind.of(each.getKind()) == LogEntryKind.CHECKPOINT) {
        requireNamed(each.getCheckpoint(), request.getNamespace(), request.getWorkflowId(), "");
        if (each.getCheckpoint().getRevision() != each.getRevision()) {
          throw Reasons.wrong("another checkpoint's revision in the entry " + each.getRevision());
        }
      }
      below = each.getFirstRevision();
    }
  }

  /** Checks that a loaded checkpoint is the requested one, or an older one if that is allowed. */
  static void requireLoaded(
      Checkpoint found,
      boolean fellBack,
      Fallback fallback,
      String namespace,
      String workflowId,
      String checkpointId) {
    if (fellBack && fallback != Fallback.FALLBACK_LAST_GOOD) {
      throw Reasons.wrong("an older checkpoint, but no fallback was requested");
    }
    requireNamed(found, namespace, workflowId, fellBack ? "" : checkpointId);
  }

  /** Checks that a checkpoint is the one that was saved. */
  static void requireSaved(Checkpoint found, SaveHeader header, Map<String, Long> sizes) {
    requireNamed(found, header.getNamespace(), header.getWorkflowId(), header.getCheckpointId());
    Map<String, Long> parts = new HashMap<>();
    found.getPartsList().forEach(part -> parts.put(part.getName(), part.getSizeBytes()));
    if (!found.getFormat().equals(header.getFormat()) || !parts.equals(sizes)) {
      throw Reasons.wrong("a checkpoint with another format or other parts than were saved");
    }
  }

  /** Checks the sizes that a checkpoint announces. */
  static void requireSizes(Checkpoint found, long maxBytes) {
    Map<String, Long> sizes = new HashMap<>();
    long sum = 0;
    for (PartInfo part : found.getPartsList()) {
      if (sizes.put(part.getName(), part.getSizeBytes()) != null || part.getSizeBytes() < 0) {
        throw Reasons.exception(
            "CHECKPOINT_CORRUPTED",
            "two parts of the checkpoint have the same name, or a part has a negative size");
      }
      if (part.getSizeBytes() > Long.MAX_VALUE - sum) {
        throw Reasons.exception(
            "CHECKPOINT_CORRUPTED",
            "the parts of the checkpoint have more bytes than a size holds");
      }
      sum += part.getSizeBytes();
    }
    if (sum != found.getSizeBytes()) {
      throw Reasons.exception(
          "CHECKPOINT_CORRUPTED",
          "the checkpoint announces " + found.getSizeBytes() + " bytes, its parts " + sum);
    }
    if (sum > maxBytes) {
      throw tooLarge(found, "the checkpoint has " + sum + " bytes, max_bytes allows " + maxBytes);
    }
  }

  /** Checks that each part of a checkpoint fits into an array. */
  static void requireArrays(Checkpoint found) {
    for (PartInfo part : found.getPartsList()) {
      if (part.getSizeBytes() > ARRAY_BYTES) {
        throw tooLarge(found, "a part has more bytes than an array of Java can have: use loadTo");
      }
    }
  }

  static HoldfastException tooLarge(Checkpoint found, String problem) {
    return Reasons.exception(
        Reasons.failure("PAYLOAD_TOO_LARGE", problem)
            .withMetadata("checkpoint_id", found.getCheckpointId())
            .withMetadata("size_bytes", Long.toString(found.getSizeBytes()))
            .withAdvice("Raise max_bytes, or load it into a file."),
        null);
  }

  /** Checks that a checkpoint is not encrypted: this client has no keyring. */
  static void requireReadable(Checkpoint found) {
    if (found.containsLabels(COVER_LABEL)) {
      String what = "checkpoint '" + found.getCheckpointId() + "'";
      throw Reasons.exception(
          Reasons.keyringRequired(what).withMetadata("checkpoint_id", found.getCheckpointId()),
          null);
    }
  }

  /** Returns the parts of an answer, checked against the sizes and digests of the checkpoint. */
  static Map<String, byte[]> parts(Checkpoint checkpoint, List<Part> received) {
    Map<String, ByteString> data = new HashMap<>();
    received.forEach(part -> data.put(part.getName(), part.getData()));
    Map<String, byte[]> parts = new LinkedHashMap<>();
    for (PartInfo info : checkpoint.getPartsList()) {
      ByteString bytes = data.remove(info.getName());
      ByteString found = bytes == null ? ByteString.EMPTY : bytes;
      boolean isWhole = found.size() == info.getSizeBytes();
      if (!isWhole || !Checksums.sha256(found).equals(info.getSha256())) {
        throw ReceivedPart.mismatch(checkpoint.getCheckpointId(), info.getName());
      }
      parts.put(info.getName(), found.toByteArray());
    }
    if (!data.isEmpty()) {
      throw ReceivedPart.damaged("it has a part that the checkpoint does not have");
    }
    return parts;
  }

  /** The records of a checkpoint, collected over all pages. */
  static final class Collected {
    private final String checkpointId;
    private final List<CheckpointRecord> records = new ArrayList<>();
    private long sizeBytes;

    Collected(String checkpointId) {
      this.checkpointId = checkpointId;
    }

    void add(List<dev.holdfast.v1.Record> page) {
      for (dev.holdfast.v1.Record each : page) {
        if (each.getData().startsWith(SEALED)) {
          throw Reasons.exception(
              Reasons.keyringRequired(
                  "record '" + each.getKey() + "' of checkpoint '" + checkpointId + "'"),
              null);
        }
        ByteString key = each.getKeyBytes();
        if (!records.isEmpty()) {
          ByteString last = ByteString.copyFromUtf8(records.get(records.size() - 1).key());
          if (ByteString.unsignedLexicographicalComparator().compare(key, last) <= 0) {
            throw Reasons.wrong("the record '" + each.getKey() + "' out of order");
          }
        }
        sizeBytes += key.size() + each.getData().size();
        if (sizeBytes > RECORDS_BYTES) {
          throw Reasons.exception(
              "PAYLOAD_TOO_LARGE",
              "the records of the checkpoint have more than " + RECORDS_BYTES + " bytes");
        }
        records.add(CheckpointRecord.of(each.getKey(), each.getData().toByteArray()));
      }
    }

    List<CheckpointRecord> records() {
      return List.copyOf(records);
    }
  }

  /**
   * The page tokens of one list up to one of its pages. They never repeat: finds a cycle of any
   * length.
   */
  record PageTokens(String remembered, long steps, long renewedAfter) {
    static final PageTokens NONE = new PageTokens("", 0, 1);

    /** Compares a token with an earlier one, which is renewed at doubling distances. */
    PageTokens with(String token) {
      if (token.equals(remembered)) {
        throw Reasons.wrong("the same page token twice, so that its list would never end");
      }
      return steps + 1 == renewedAfter
          ? new PageTokens(token, 0, renewedAfter * 2)
          : new PageTokens(remembered, steps + 1, renewedAfter);
    }
  }
}
