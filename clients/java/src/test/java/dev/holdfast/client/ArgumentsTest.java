package dev.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.ClientInterceptor;
import io.opentelemetry.api.OpenTelemetry;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Arguments that no call can take: the error names the field, and comes where others come. */
class ArgumentsTest {
  private static final String NOTHING = "127.0.0.1:1";
  private static final Format FORMAT = new Format("test", 1);
  private static final Payload DATA = Payload.of(new byte[1]);
  private static final HoldfastClient CLIENT = HoldfastClient.builder(NOTHING).build();

  @AfterAll
  static void close() {
    CLIENT.close();
  }

  private static Arguments wrong(String field, Executable call) {
    return Arguments.of(field, call);
  }

  private static HoldfastClient.Builder builder() {
    return HoldfastClient.builder(NOTHING);
  }

  static Stream<Arguments> immediate() {
    Map<String, String> nullValue = Collections.singletonMap("key", null);
    return Stream.of(
        wrong("data['']", () -> Payload.of((byte[]) null)),
        wrong("data['']", () -> Payload.of((Path) null)),
        wrong("data['']", () -> Payload.of(1, null)),
        wrong("parts.name", () -> Payload.parts().with(null, new byte[1])),
        wrong("data[''].size_bytes", () -> Payload.of(-1, InputStream::nullInputStream)),
        wrong("data['b'].size_bytes", ArgumentsTest::moreThanASizeHolds),
        wrong("records.key", () -> CheckpointRecord.of(null, new byte[1])),
        wrong("records.data", () -> CheckpointRecord.of("key", null)),
        wrong("format.name", () -> new Format(null, 1)),
        wrong("accepted_formats.name", () -> new AcceptedFormat(null, 1, 1)),
        wrong("migration", () -> Migrations.none().with("f", 1, null)),
        wrong("checkpoint_id", () -> SaveOptions.defaults().checkpointId(null)),
        wrong("labels", () -> SaveOptions.defaults().labels(null)),
        wrong("labels", () -> SaveOptions.defaults().labels(nullValue)),
        wrong("labels", () -> SaveOptions.defaults().labels(Map.of("key", "\ud800"))),
        wrong("labels", () -> SaveOptions.defaults().label("key", null)),
        wrong("ttl", () -> SaveOptions.defaults().ttl(null)),
        wrong("progress", () -> SaveOptions.defaults().progress(null)),
        wrong("timeout", () -> SaveOptions.defaults().timeout(null)),
        wrong("timeout", () -> SaveOptions.defaults().timeout(Duration.ZERO)),
        wrong("accepted_formats", () -> LoadOptions.defaults().accept(null)),
        wrong("part", () -> LoadOptions.defaults().part(null)),
        wrong("max_bytes", () -> LoadOptions.defaults().maxBytes(-1)),
        wrong("not_before", () -> LoadOptions.defaults().notBefore(null)),
        wrong("progress", () -> LoadOptions.defaults().progress(null)),
        wrong("timeout", () -> LoadOptions.defaults().timeout(null)),
        wrong("created_after", () -> ListOptions.defaults().createdAfter(null)),
        wrong("created_before", () -> ListOptions.defaults().createdBefore(Instant.MAX)),
        wrong("format", () -> ListOptions.defaults().format(null)),
        wrong("depth", () -> ValidateOptions.defaults().depth(null)),
        wrong("accepted_formats", () -> ValidateOptions.defaults().accept(null)),
        wrong("not_before", () -> ValidateOptions.defaults().notBefore(null)),
        wrong("lease", () -> AcquireOptions.defaults().lease(null)),
        wrong("request_id", () -> WriteOptions.defaults().requestId(null)),
        wrong("max_backoff", () -> RetryPolicy.never().withBackoff(Duration.ZERO, null)),
        wrong("attempt_timeout", () -> RetryPolicy.never().withAttemptTimeout(null)),
        wrong("tls.ca_file", () -> Tls.systemAuthorities().withAuthorities(null)),
        wrong("tls.key_file", () -> Tls.systemAuthorities().withCertificate(Path.of("a"), null)),
        wrong("tls.server_name", () -> Tls.systemAuthorities().withServerName(null)),
        wrong("target", () -> HoldfastClient.builder(null).build()),
        wrong("timeout", () -> builder().timeout(null)),
        wrong("retry", () -> builder().retry(null)),
        wrong("producer.version", () -> builder().producer("name", null)),
        wrong("tls", () -> builder().tls(null)),
        wrong("token", () -> builder().token((String) null)),
        wrong("token", () -> builder().token((Supplier<String>) null)),
        wrong("open_telemetry", () -> builder().openTelemetry((OpenTelemetry) null)),
        wrong("interceptor", () -> builder().interceptor((ClientInterceptor) null)),
        wrong("workflow_id", () -> CLIENT.workflow("java", null)),
        wrong("namespace", () -> CLIENT.head(null, "wf")),
        wrong("workflow_id", () -> CLIENT.forgetHead("java", null)));
  }

  private static void moreThanASizeHolds() {
    Payload.of(Long.MAX_VALUE, InputStream::nullInputStream)
        .with("b", 1, InputStream::nullInputStream);
  }

  @ParameterizedTest
  @MethodSource("immediate")
  void wrongArgumentsAreNamed(String field, Executable call) {
    InvalidRequestException error = assertThrows(InvalidRequestException.class, call);
    assertEquals(field, error.fieldViolations().get(0).field());
    assertTrue(error.detail().startsWith(field + " "), error.detail());
  }

  private static Arguments failing(String field, Supplier<CompletableFuture<?>> call) {
    return Arguments.of(field, call);
  }

  static Stream<Arguments> later() {
    AsyncHoldfastClient client = CLIENT.async();
    AsyncWorkflow handle = client.workflow("java", "wf");
    LoadOptions load = LoadOptions.defaults();
    SaveOptions save = SaveOptions.defaults();
    WriteOptions write = WriteOptions.defaults();
    Migrations none = Migrations.none();
    List<CheckpointRecord> holed = Arrays.asList(CheckpointRecord.of("key", new byte[1]), null);
    return Stream.of(
        failing("namespace", () -> client.load(null, "wf", load)),
        failing("workflow_id", () -> client.load("java", null, load)),
        failing("options", () -> client.load("java", "wf", null)),
        failing("data", () -> client.save("java", "wf", null, FORMAT, save)),
        failing("format", () -> client.save("java", "wf", DATA, null, save)),
        failing("options", () -> client.save("java", "wf", DATA, FORMAT, null)),
        failing("file", () -> client.loadTo("java", "wf", (Path) null, load)),
        failing("stream", () -> client.loadTo("java", "wf", (OutputStream) null, load)),
        failing("options", () -> client.loadTo("java", "wf", Path.of("a"), null)),
        failing("format", () -> client.resume("java", "wf", null, none, load)),
        failing("migrations", () -> client.resume("java", "wf", FORMAT, null, load)),
        failing("options", () -> client.resume("java", "wf", FORMAT, none, null)),
        failing("options", () -> client.list("java", "wf", null)),
        failing("prefix", () -> client.listWorkflows("java", null)),
        failing("options", () -> client.validate("java", "wf", null)),
        failing("options", () -> client.acquireWriter("java", "wf", null)),
        failing("checkpoint_id", () -> client.delete("java", "wf", null, write)),
        failing("options", () -> client.delete("java", "wf", "id", null)),
        failing("options", () -> client.deleteWorkflow("java", "wf", null)),
        failing("options", () -> client.prune("java", "wf", 1, null)),
        failing("records", () -> client.attach("java", "wf", "id", null, write)),
        failing("records[1]", () -> client.attach("java", "wf", "id", holed, write)),
        failing("options", () -> client.attach("java", "wf", "id", List.of(), null)),
        failing("timeout", () -> client.records("java", "wf", "id", null)),
        failing("timeout", () -> client.records("java", "wf", "id", Duration.ofSeconds(-1))),
        failing("options", () -> handle.save(DATA, FORMAT, null)),
        failing("options", () -> handle.load(null)),
        failing("options", () -> handle.resume(FORMAT, none, null)),
        failing("options", () -> handle.acquireWriter(null)),
        failing("options", () -> handle.prune(1, null)),
        failing("options", () -> handle.attach("id", List.of(), null)));
  }

  @ParameterizedTest
  @MethodSource("later")
  void wrongArgumentsOfACallFailItsFuture(String field, Supplier<CompletableFuture<?>> call) {
    CompletableFuture<?> failed = call.get();
    ExecutionException wrapped = assertThrows(ExecutionException.class, failed::get);
    InvalidRequestException error =
        assertInstanceOf(InvalidRequestException.class, wrapped.getCause());
    assertEquals(field, error.fieldViolations().get(0).field());
  }

  @Test
  void blockingCallsThrowTheSameErrors() {
    InvalidRequestException error =
        assertThrows(InvalidRequestException.class, () -> CLIENT.load("java", "wf", null));
    assertEquals("options", error.fieldViolations().get(0).field());
  }

  @Test
  void aSourceThatOpensNothingIsNamed() {
    InvalidRequestException error =
        assertThrows(
            InvalidRequestException.class,
            () -> CLIENT.save("java", "wf", Payload.parts().with("a", 3, () -> null), FORMAT));
    assertEquals("data['a']", error.fieldViolations().get(0).field());
  }
}
