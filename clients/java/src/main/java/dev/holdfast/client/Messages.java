package dev.holdfast.client;

import com.google.protobuf.Timestamp;
import dev.holdfast.v1.Finding;
import dev.holdfast.v1.SkippedCheckpoint;
import dev.holdfast.v1.ValidateResponse;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Converts messages of the API to values. */
final class Messages {
  private Messages() {}

  static Checkpoint checkpoint(dev.holdfast.v1.Checkpoint message, boolean replayed) {
    // A server never commits a format without name or version, but an answer may be wrong.
    if (message.getFormat().getVersion() < 1) {
      throw Reasons.wrong("a checkpoint without format");
    }
    return new Checkpoint(
        message.getNamespace(),
        message.getWorkflowId(),
        message.getCheckpointId(),
        message.getRevision(),
        message.getParentId(),
        new Format(message.getFormat().getName(), message.getFormat().getVersion()),
        Map.copyOf(message.getLabelsMap()),
        message.getPartsList().stream().map(Messages::part).toList(),
        message.getSizeBytes(),
        instant(message.getCreateTime()),
        message.hasExpireTime() ? Optional.of(instant(message.getExpireTime())) : Optional.empty(),
        message.getEpoch(),
        message.getRequestId(),
        message.getTraceId(),
        replayed,
        message.getPinned(),
        message.getPrincipal());
  }

  static PartInfo part(dev.holdfast.v1.PartInfo message) {
    String sha256 = HexFormat.of().formatHex(message.getSha256().toByteArray());
    return new PartInfo(message.getName(), message.getSizeBytes(), sha256, message.getCrc32C());
  }

  static List<Skipped> skipped(List<SkippedCheckpoint> messages) {
    return messages.stream()
        .map(
            each ->
                new Skipped(
                    each.getCheckpointId(),
                    each.getRevision(),
                    each.getReason(),
                    each.getMessage()))
        .toList();
  }

  static Validation validation(ValidateResponse message) {
    return new Validation(
        message.getResumable(),
        message.getFindingsList().stream().map(Messages::finding).toList(),
        message.hasCheckpoint()
            ? Optional.of(checkpoint(message.getCheckpoint(), false))
            : Optional.empty(),
        message.hasLastGood()
            ? Optional.of(checkpoint(message.getLastGood(), false))
            : Optional.empty());
  }

  private static Skipped finding(Finding message) {
    return new Skipped(
        message.getCheckpointId(),
        message.getRevision(),
        message.getReason(),
        message.getMessage());
  }

  static Instant instant(Timestamp time) {
    try {
      return Instant.ofEpochSecond(time.getSeconds(), time.getNanos());
    } catch (DateTimeException | ArithmeticException invalid) {
      throw Reasons.wrong("an invalid time: " + time.getSeconds() + " s");
    }
  }
}
