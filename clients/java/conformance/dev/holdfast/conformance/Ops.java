package dev.holdfast.conformance;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import dev.holdfast.client.AcceptedFormat;
import dev.holdfast.client.AcquireOptions;
import dev.holdfast.client.Checkpoint;
import dev.holdfast.client.CheckpointRecord;
import dev.holdfast.client.Format;
import dev.holdfast.client.HoldfastClient;
import dev.holdfast.client.ListOptions;
import dev.holdfast.client.LoadOptions;
import dev.holdfast.client.LoadedCheckpoint;
import dev.holdfast.client.LoadedFile;
import dev.holdfast.client.Migration;
import dev.holdfast.client.Migrations;
import dev.holdfast.client.Payload;
import dev.holdfast.client.RetryPolicy;
import dev.holdfast.client.SaveOptions;
import dev.holdfast.client.ServerUnavailableException;
import dev.holdfast.client.Tls;
import dev.holdfast.client.ValidateDepth;
import dev.holdfast.client.ValidateOptions;
import dev.holdfast.client.Workflow;
import dev.holdfast.client.WriteOptions;
import dev.holdfast.client.Writer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import java.util.function.Supplier;

/** The clients and handles of the driver, and the ops that use them. */
final class Ops implements AutoCloseable {
  private final String mutant;
  private final Map<String, HoldfastClient> clients = new ConcurrentHashMap<>();
  private final Map<String, Workflow> handles = new ConcurrentHashMap<>();

  Ops(String mutant) {
    this.mutant = mutant;
  }

  @Override
  public void close() {
    clients.values().forEach(HoldfastClient::close);
  }

  JsonObject run(JsonObject command) {
    Arguments given = new Arguments(command);
    return switch (given.text("op")) {
      case "hello" -> hello();
      case "open" -> open(given);
      case "close" -> close(given);
      case "workflow" -> workflow(given);
      case "state" -> state(given);
      case "save" -> save(given);
      case "load" -> load(given);
      case "load_to" -> loadTo(given);
      case "resume" -> resume(given);
      case "list" -> list(given);
      case "validate" -> validate(given);
      case "delete", "delete_workflow" -> delete(given);
      case "acquire_writer" -> acquireWriter(given);
      case "attach" -> attach(given);
      case "records" -> records(given);
      default -> throw new IllegalArgumentException("unknown op: " + command);
    };
  }

  private static JsonObject hello() {
    // The first call loads the classes of gRPC, which can take longer than a case allows.
    try (HoldfastClient client =
        HoldfastClient.builder("127.0.0.1:1").retry(RetryPolicy.never()).build()) {
      client.capabilities();
    } catch (ServerUnavailableException expected) {
      // Nothing listens there.
    }
    JsonObject answer = new JsonObject();
    answer.addProperty("client", "Java");
    answer.addProperty("version", HoldfastClient.VERSION);
    JsonArray features = new JsonArray();
    features.add("files");
    features.add("pipeline");
    features.add("rolled_back");
    answer.add("features", features);
    JsonArray mutants = new JsonArray();
    Mutants.NAMES.forEach(mutants::add);
    answer.add("mutants", mutants);
    return answer;
  }

  private JsonObject open(Arguments given) {
    List<String> targets = new ArrayList<>();
    given.list("targets").forEach(each -> targets.add(each.getAsString()));
    List<String> used = mutant.equals("first_address_only") ? targets.subList(0, 1) : targets;
    HoldfastClient.Builder builder = HoldfastClient.builder(String.join(",", used));
    given.time("timeout_ms").ifPresent(builder::timeout);
    builder.retry(retry(given.object("retry")));
    given
        .object("tls")
        .filter(tls -> !mutant.equals("ignores_tls"))
        .map(Ops::tls)
        .ifPresent(builder::tls);
    given.optional("token").ifPresent(token -> builder.token(token));
    if (given.has("tokens")) {
      builder.token(source(given.list("tokens")));
    }
    if (given.flag("insecure")) {
      builder.allowPlaintextToken();
    }
    given.object("producer").ifPresent(it -> builder.producer(it.text("name"), it.text("version")));
    if (!mutant.isEmpty()) {
      builder.interceptor(new Mutants(mutant, given.time("timeout_ms")));
    }
    clients.put(given.text("client"), builder.build());
    return new JsonObject();
  }

  private RetryPolicy retry(Optional<Arguments> given) {
    RetryPolicy policy = RetryPolicy.defaults();
    if (given.isPresent()) {
      Arguments retry = given.get();
      policy =
          new RetryPolicy(
              retry.time("initial_backoff_ms").orElse(policy.initialBackoff()),
              retry.time("max_backoff_ms").orElse(policy.maxBackoff()),
              retry.time("attempt_timeout_ms"),
              retry.number("burst").orElse(policy.burstRetries()),
              retry.number("per_second").orElse(policy.retriesPerSecond()));
    }
    return switch (mutant) {
      case "never_retries" -> policy.withBudget(0, policy.retriesPerSecond());
      case "ignores_budget" -> policy.withBudget(10_000, 10_000);
      default -> policy;
    };
  }

  private static Tls tls(Arguments given) {
    return new Tls(
        given.optional("ca_file").map(Path::of),
        given.optional("cert_file").map(Path::of),
        given.optional("key_file").map(Path::of),
        given.optional("server_name"));
  }

  private static Supplier<String> source(JsonArray tokens) {
    AtomicInteger next = new AtomicInteger();
    return () -> tokens.get(Math.min(next.getAndIncrement(), tokens.size() - 1)).getAsString();
  }

  private JsonObject close(Arguments given) {
    clients.remove(given.text("client")).close();
    return new JsonObject();
  }

  private JsonObject workflow(Arguments given) {
    Workflow handle = client(given).workflow(given.text("namespace"), given.text("workflow_id"));
    handles.put(given.text("handle"), handle);
    return new JsonObject();
  }

  private JsonObject state(Arguments given) {
    Workflow handle = handles.get(given.text("handle"));
    JsonObject answer = new JsonObject();
    answer.add("revision", number(handle.revision()));
    answer.add("epoch", number(handle.epoch()));
    answer.addProperty("checkpoint_id", handle.checkpointId());
    return answer;
  }

  private JsonObject save(Arguments given) {
    Payload data = Payload.parts();
    for (JsonElement each : given.list("parts")) {
      JsonObject part = each.getAsJsonObject();
      byte[] bytes = Content.decoded(part.getAsJsonObject("data"));
      data = data.with(part.get("name").getAsString(), bytes);
    }
    SaveOptions options = SaveOptions.defaults();
    options = with(options, given.optional("checkpoint_id"), options::checkpointId);
    options = with(options, given.optional("parent_id"), options::parentId);
    if (given.flag("needs_parent")) {
      options = options.neededParentId(given.text("parent_id"));
    }
    options = with(options, given.object("labels").map(Arguments::texts), options::labels);
    options = with(options, given.integer("expected_revision"), options::expectedRevision);
    options = with(options, given.integer("epoch"), options::epoch);
    options = with(options, given.time("ttl_ms"), options::ttl);
    options = given.flag("replace") ? options.replace() : options;
    options = given.flag("pinned") ? options.pinned() : options;
    options = with(options, given.optional("request_id"), options::requestId);
    options = with(options, given.time("timeout_ms"), options::timeout);
    Format format = format(given.object("format").orElseThrow());
    Checkpoint saved =
        given.has("handle")
            ? handle(given).save(data, format, options)
            : client(given)
                .save(given.text("namespace"), given.text("workflow_id"), data, format, options);
    return Answers.checkpoint(saved);
  }

  private JsonObject load(Arguments given) {
    LoadedCheckpoint loaded =
        given.has("handle")
            ? handle(given).load(options(given))
            : client(given)
                .load(given.text("namespace"), given.text("workflow_id"), options(given));
    return Answers.loaded(loaded);
  }

  private JsonObject loadTo(Arguments given) {
    Path file = Path.of(given.text("file"));
    LoadedFile loaded =
        given.has("handle")
            ? handle(given).loadTo(file, options(given))
            : client(given)
                .loadTo(given.text("namespace"), given.text("workflow_id"), file, options(given));
    return Answers.loaded(loaded);
  }

  private JsonObject resume(Arguments given) {
    Format format = format(given.object("format").orElseThrow());
    Migrations migrations = Migrations.none();
    for (JsonElement each : given.list("migrations")) {
      Arguments step = new Arguments(each.getAsJsonObject());
      int from = step.number("from_version").orElseThrow().intValue();
      migrations = migrations.with(format.name(), from, migration(step));
    }
    LoadOptions options = options(given);
    LoadedCheckpoint loaded =
        given.has("handle")
            ? handle(given).resume(format, migrations, options)
            : client(given)
                .resume(
                    given.text("namespace"),
                    given.text("workflow_id"),
                    format,
                    migrations,
                    options);
    return Answers.loaded(loaded);
  }

  private static Migration migration(Arguments step) {
    return parts -> {
      if (step.has("fail")) {
        throw new IllegalStateException(step.text("fail"));
      }
      Map<String, byte[]> migrated = new LinkedHashMap<>();
      parts.forEach(
          (name, data) -> {
            byte[] more = step.text("append").getBytes(UTF_8);
            byte[] all = Arrays.copyOf(data, data.length + more.length);
            System.arraycopy(more, 0, all, data.length, more.length);
            migrated.put(name, all);
          });
      return migrated;
    };
  }

  private static LoadOptions options(Arguments given) {
    LoadOptions options = LoadOptions.defaults();
    options = with(options, given.optional("checkpoint_id"), options::checkpointId);
    for (AcceptedFormat format : accepted(given)) {
      options = options.accept(format);
    }
    options = given.flag("fallback") ? options.fallback() : options;
    options = given.flag("records") ? options.records() : options;
    options = with(options, given.optional("part"), options::part);
    options = with(options, given.integer("max_bytes"), options::maxBytes);
    return with(options, given.time("timeout_ms"), options::timeout);
  }

  private JsonObject list(Arguments given) {
    ListOptions options = ListOptions.defaults();
    for (Map.Entry<String, String> label :
        given.object("labels").map(Arguments::texts).orElse(Map.of()).entrySet()) {
      options = options.label(label.getKey(), label.getValue());
    }
    options =
        given.has("page_size")
            ? options.pageSize(given.number("page_size").get().intValue())
            : options;
    options = with(options, given.time("timeout_ms"), options::timeout);
    long limit = given.number("limit").map(Double::longValue).orElse(Long.MAX_VALUE);
    List<Checkpoint> found =
        client(given)
            .list(given.text("namespace"), given.optional("workflow_id").orElse(""), options)
            .stream()
            .limit(limit)
            .toList();
    JsonObject answer = new JsonObject();
    answer.add("checkpoints", Answers.array(found, Answers::checkpoint));
    return answer;
  }

  private JsonObject validate(Arguments given) {
    ValidateOptions options = ValidateOptions.defaults();
    options = with(options, given.optional("checkpoint_id"), options::checkpointId);
    if (given.has("depth")) {
      options = options.depth(ValidateDepth.valueOf(given.text("depth").toUpperCase(Locale.ROOT)));
    }
    for (AcceptedFormat format : accepted(given)) {
      options = options.accept(format);
    }
    options = with(options, given.time("timeout_ms"), options::timeout);
    return Answers.validation(
        client(given).validate(given.text("namespace"), given.text("workflow_id"), options));
  }

  private JsonObject delete(Arguments given) {
    String namespace = given.text("namespace");
    String workflowId = given.text("workflow_id");
    HoldfastClient client = client(given);
    long revision =
        given.text("op").equals("delete")
            ? client.delete(namespace, workflowId, given.text("checkpoint_id"), write(given))
            : client.deleteWorkflow(namespace, workflowId, write(given));
    JsonObject answer = new JsonObject();
    answer.addProperty("revision", Long.toString(revision));
    return answer;
  }

  private JsonObject acquireWriter(Arguments given) {
    AcquireOptions options = AcquireOptions.defaults();
    options = with(options, given.integer("expected_revision"), options::expectedRevision);
    if (given.has("lease_ms")) {
      Duration lease = given.time("lease_ms").orElseThrow();
      options =
          given.has("holder") ? options.lease(lease, given.text("holder")) : options.lease(lease);
    }
    options = given.flag("force") ? options.force() : options;
    options = with(options, given.optional("request_id"), options::requestId);
    options = with(options, given.time("timeout_ms"), options::timeout);
    Writer writer =
        given.has("handle")
            ? handle(given).acquireWriter(options)
            : client(given)
                .acquireWriter(given.text("namespace"), given.text("workflow_id"), options);
    JsonObject answer = new JsonObject();
    answer.addProperty("epoch", Long.toString(writer.epoch()));
    answer.addProperty("revision", Long.toString(writer.revision()));
    return answer;
  }

  private JsonObject attach(Arguments given) {
    List<CheckpointRecord> records = new ArrayList<>();
    for (JsonElement each : given.list("records")) {
      Arguments record = new Arguments(each.getAsJsonObject());
      byte[] data = Content.decoded(each.getAsJsonObject().getAsJsonObject("data"));
      records.add(
          record.flag("replace")
              ? CheckpointRecord.replacing(record.text("key"), data)
              : CheckpointRecord.of(record.text("key"), data));
    }
    if (given.has("handle")) {
      Workflow handle = handle(given);
      String id = given.optional("checkpoint_id").orElseGet(handle::checkpointId);
      handle.attach(id, records, write(given));
    } else {
      client(given)
          .attach(
              given.text("namespace"),
              given.text("workflow_id"),
              given.text("checkpoint_id"),
              records,
              write(given));
    }
    return new JsonObject();
  }

  private JsonObject records(Arguments given) {
    List<CheckpointRecord> found;
    if (given.has("handle")) {
      Workflow handle = handle(given);
      found = handle.records(given.optional("checkpoint_id").orElseGet(handle::checkpointId));
    } else {
      String namespace = given.text("namespace");
      String workflowId = given.text("workflow_id");
      String id = given.text("checkpoint_id");
      HoldfastClient client = client(given);
      found =
          given
              .time("timeout_ms")
              .map(time -> client.records(namespace, workflowId, id, time))
              .orElseGet(() -> client.records(namespace, workflowId, id));
    }
    JsonObject answer = new JsonObject();
    answer.add("records", Answers.records(found));
    return answer;
  }

  private HoldfastClient client(Arguments given) {
    return clients.get(given.text("client"));
  }

  private Workflow handle(Arguments given) {
    return handles.get(given.text("handle"));
  }

  private static WriteOptions write(Arguments given) {
    WriteOptions options = WriteOptions.defaults();
    options = with(options, given.integer("epoch"), options::epoch);
    options = with(options, given.optional("request_id"), options::requestId);
    return with(options, given.time("timeout_ms"), options::timeout);
  }

  private static Format format(Arguments given) {
    return new Format(given.text("name"), given.number("version").orElseThrow().intValue());
  }

  private static List<AcceptedFormat> accepted(Arguments given) {
    List<AcceptedFormat> formats = new ArrayList<>();
    for (JsonElement each : given.list("accepted_formats")) {
      Arguments format = new Arguments(each.getAsJsonObject());
      formats.add(
          new AcceptedFormat(
              format.text("name"),
              format.number("min_version").orElseThrow().intValue(),
              format.number("max_version").orElseThrow().intValue()));
    }
    return formats;
  }

  private static <O, V> O with(O options, Optional<V> value, Function<V, O> set) {
    return value.map(set).orElse(options);
  }

  private static JsonElement number(OptionalLong value) {
    return value.isEmpty()
        ? JsonNull.INSTANCE
        : new JsonPrimitive(Long.toString(value.getAsLong()));
  }

  /** The arguments of a command. Those that are null count as absent. */
  private record Arguments(JsonObject json) {
    boolean has(String name) {
      return json.has(name) && !json.get(name).isJsonNull();
    }

    String text(String name) {
      return optional(name).orElseThrow(() -> new IllegalArgumentException("no " + name));
    }

    Optional<String> optional(String name) {
      return has(name) ? Optional.of(json.get(name).getAsString()) : Optional.empty();
    }

    boolean flag(String name) {
      return has(name) && json.get(name).getAsBoolean();
    }

    Optional<Long> integer(String name) {
      return optional(name).map(Long::valueOf);
    }

    Optional<Double> number(String name) {
      return has(name) ? Optional.of(json.get(name).getAsDouble()) : Optional.empty();
    }

    Optional<Duration> time(String name) {
      return number(name).map(given -> Duration.ofNanos((long) (given * 1e6)));
    }

    Optional<Arguments> object(String name) {
      return has(name) ? Optional.of(new Arguments(json.getAsJsonObject(name))) : Optional.empty();
    }

    JsonArray list(String name) {
      return has(name) ? json.getAsJsonArray(name) : new JsonArray();
    }

    Map<String, String> texts() {
      Map<String, String> texts = new LinkedHashMap<>();
      json.entrySet().forEach(each -> texts.put(each.getKey(), each.getValue().getAsString()));
      return texts;
    }
  }
}
