package dev.holdfast.conformance;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import dev.holdfast.client.Checkpoint;
import dev.holdfast.client.CheckpointRecord;
import dev.holdfast.client.Format;
import dev.holdfast.client.HoldfastException;
import dev.holdfast.client.LoadedCheckpoint;
import dev.holdfast.client.LoadedFile;
import dev.holdfast.client.Skipped;
import dev.holdfast.client.Validation;
import dev.holdfast.client.WorkflowCheckpointResumeException;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/** What the client returns and throws, as answers of the protocol. */
final class Answers {
  private Answers() {}

  static JsonObject checkpoint(Checkpoint found) {
    JsonObject answer = new JsonObject();
    answer.addProperty("namespace", found.namespace());
    answer.addProperty("workflow_id", found.workflowId());
    answer.addProperty("checkpoint_id", found.checkpointId());
    answer.addProperty("revision", Long.toString(found.revision()));
    answer.addProperty("parent_id", found.parentId());
    answer.add("format", format(found.format()));
    answer.add("labels", texts(found.labels()));
    answer.add(
        "parts",
        array(
            found.parts(),
            part -> {
              JsonObject shown = new JsonObject();
              shown.addProperty("name", part.name());
              shown.addProperty("size", Long.toString(part.sizeBytes()));
              shown.addProperty("sha256", part.sha256());
              return shown;
            }));
    answer.addProperty("size", Long.toString(found.sizeBytes()));
    answer.addProperty("epoch", Long.toString(found.epoch()));
    answer.addProperty("request_id", found.requestId());
    answer.addProperty("trace_id", found.traceId());
    answer.addProperty("pinned", found.pinned());
    answer.addProperty("replayed", found.replayed());
    return answer;
  }

  static JsonObject loaded(LoadedCheckpoint found) {
    JsonObject answer = checkpoint(found.info());
    answer.add("format", format(found.format()));
    answer.add(
        "data",
        array(
            found.parts().entrySet(),
            part -> {
              JsonObject shown = new JsonObject();
              shown.addProperty("name", part.getKey());
              shown.add("data", Content.described(part.getValue()));
              return shown;
            }));
    answer.addProperty("fell_back", found.fellBack());
    answer.add("skipped", skipped(found.skipped()));
    answer.addProperty("head_revision", Long.toString(found.headRevision()));
    answer.add("records", records(found.records()));
    answer.add(
        "migrated_from",
        found.migratedFrom().<JsonElement>map(Answers::format).orElse(JsonNull.INSTANCE));
    return answer;
  }

  static JsonObject loaded(LoadedFile found) {
    JsonObject answer = checkpoint(found.info());
    answer.addProperty("fell_back", found.fellBack());
    answer.add("skipped", skipped(found.skipped()));
    answer.addProperty("head_revision", Long.toString(found.headRevision()));
    return answer;
  }

  static JsonObject validation(Validation found) {
    JsonObject answer = new JsonObject();
    answer.addProperty("resumable", found.resumable());
    answer.add("findings", skipped(found.findings()));
    answer.add("checkpoint", optional(found.checkpoint().orElse(null)));
    answer.add("last_good", optional(found.lastGood().orElse(null)));
    return answer;
  }

  static JsonArray records(List<CheckpointRecord> found) {
    return array(
        found,
        record -> {
          JsonObject shown = new JsonObject();
          shown.addProperty("key", record.key());
          shown.add("data", Content.described(record.data()));
          return shown;
        });
  }

  static JsonObject error(HoldfastException error) {
    JsonObject answer = new JsonObject();
    answer.addProperty("reason", error.reason());
    answer.addProperty("code", error.code().name());
    answer.addProperty("message", error.detail());
    answer.addProperty("trace_id", error.traceId());
    answer.addProperty("request_id", error.requestId());
    answer.addProperty("retryable", error.retryable());
    answer.add("metadata", texts(error.metadata()));
    answer.add(
        "retry_after_ms",
        error
            .retryAfter()
            .<JsonElement>map(time -> new JsonPrimitive(time.toNanos() / 1e6))
            .orElse(JsonNull.INSTANCE));
    answer.add(
        "field_violations",
        array(
            error.fieldViolations(),
            violation -> {
              JsonArray pair = new JsonArray();
              pair.add(violation.field());
              pair.add(violation.problem());
              return pair;
            }));
    answer.add(
        "last_good",
        error instanceof WorkflowCheckpointResumeException resume
            ? optional(resume.lastGood().orElse(null))
            : JsonNull.INSTANCE);
    return answer;
  }

  static <T> JsonArray array(Iterable<T> items, Function<T, JsonElement> shown) {
    JsonArray array = new JsonArray();
    items.forEach(item -> array.add(shown.apply(item)));
    return array;
  }

  private static JsonElement optional(Checkpoint found) {
    return found == null ? JsonNull.INSTANCE : checkpoint(found);
  }

  private static JsonArray skipped(List<Skipped> found) {
    return array(
        found,
        each -> {
          JsonObject shown = new JsonObject();
          shown.addProperty("checkpoint_id", each.checkpointId());
          shown.addProperty("revision", Long.toString(each.revision()));
          shown.addProperty("reason", each.reason());
          return shown;
        });
  }

  private static JsonObject format(Format format) {
    JsonObject shown = new JsonObject();
    shown.addProperty("name", format.name());
    shown.addProperty("version", format.version());
    return shown;
  }

  private static JsonObject texts(Map<String, String> values) {
    JsonObject shown = new JsonObject();
    values.forEach(shown::addProperty);
    return shown;
  }
}
