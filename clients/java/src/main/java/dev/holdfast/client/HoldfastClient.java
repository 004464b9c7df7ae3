package dev.holdfast.client;

import dev.holdfast.v1.Producer;
import io.grpc.ClientInterceptor;
import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.api.OpenTelemetry;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * A client of one Holdfast server, for any number of threads.
 *
 * <p>Each call blocks until it is done or its time is up, and throws a {@link HoldfastException}
 * with one subclass for each reason. If its thread is interrupted, the call is cancelled and throws
 * {@link CallInterruptedException}. {@link #async()} has the same calls with futures.
 */
public final class HoldfastClient implements AutoCloseable {
  /** The version of the client. */
  public static final String VERSION = "0.2.0";

  private final AsyncHoldfastClient async;

  private HoldfastClient(AsyncHoldfastClient async) {
    this.async = async;
  }

  /**
   * Returns a builder of a client.
   *
   * @param target host:port, several of them with commas between, {@code grpcs://host:port} for
   *     TLS, or {@code dns:///host:port}
   * @return the builder
   */
  public static Builder builder(String target) {
    return new Builder(target);
  }

  /**
   * Returns the same client with futures. It is closed with this one.
   *
   * @return the calls with futures
   */
  public AsyncHoldfastClient async() {
    return async;
  }

  /** Closes the client for good. Running calls end with {@link ClientClosedException}. */
  @Override
  public void close() {
    async.close();
  }

  /**
   * Returns a handle of one workflow, which carries revision and epoch from call to call.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @return the handle
   */
  public Workflow workflow(String namespace, String workflowId) {
    return new Workflow(async.workflow(namespace, workflowId));
  }

  /**
   * Returns the newest head of a workflow's log that this client has seen. It remembers those of
   * the 10,000 workflows that it has used last. Keep its text outside of the store, and give it to
   * a later client by {@link LoadOptions#notBefore} or {@link ValidateOptions#notBefore}.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @return the head; empty if none is remembered
   */
  public Optional<Head> head(String namespace, String workflowId) {
    return async.head(namespace, workflowId);
  }

  /**
   * Forgets the head of a workflow's log, to accept an older one after an operator has restored the
   * store on purpose.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   */
  public void forgetHead(String namespace, String workflowId) {
    async.forgetHead(namespace, workflowId);
  }

  /**
   * Saves a checkpoint, of any size.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param data the payload
   * @param format the format of the payload
   * @return the checkpoint
   * @throws HoldfastException a subclass for each reason
   */
  public Checkpoint save(String namespace, String workflowId, Payload data, Format format) {
    return save(namespace, workflowId, data, format, SaveOptions.defaults());
  }

  /**
   * Saves a checkpoint, of any size.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param data the payload
   * @param format the format of the payload
   * @param options how
   * @return the checkpoint
   * @throws HoldfastException a subclass for each reason
   * @throws UncheckedIOException a file or stream of the payload cannot be read
   */
  public Checkpoint save(
      String namespace, String workflowId, Payload data, Format format, SaveOptions options) {
    return Blocking.join(async.save(namespace, workflowId, data, format, options));
  }

  /**
   * Loads the newest checkpoint with its payload, and checks the digests of the payload.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @return the checkpoint
   * @throws WorkflowCheckpointResumeException a subclass for each reason
   */
  public LoadedCheckpoint load(String namespace, String workflowId) {
    return load(namespace, workflowId, LoadOptions.defaults());
  }

  /**
   * Loads a checkpoint with its payload, and checks the digests of the payload.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param options which checkpoint, and how
   * @return the checkpoint
   * @throws WorkflowCheckpointResumeException a subclass for each reason
   */
  public LoadedCheckpoint load(String namespace, String workflowId, LoadOptions options) {
    return Blocking.join(async.load(namespace, workflowId, options));
  }

  /**
   * Loads a part of a checkpoint into a file, of any size: a few MiB of it are in memory at a time.
   * The file gets the part once the part is whole and matches its digest, and is as it was before
   * otherwise.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param file the file, whose folder must exist
   * @param options which checkpoint and part, and how
   * @return the checkpoint
   * @throws WorkflowCheckpointResumeException a subclass for each reason
   * @throws UncheckedIOException the file cannot be written
   */
  public LoadedFile loadTo(String namespace, String workflowId, Path file, LoadOptions options) {
    return Blocking.join(async.loadTo(namespace, workflowId, file, options));
  }

  /**
   * Loads a part of a checkpoint into a stream, of any size. The stream gets the part from a
   * temporary file, once the part is whole and matches its digest.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param stream the stream, which stays open
   * @param options which checkpoint and part, and how
   * @return the checkpoint
   * @throws WorkflowCheckpointResumeException a subclass for each reason
   * @throws UncheckedIOException the stream cannot be written
   */
  public LoadedFile loadTo(
      String namespace, String workflowId, OutputStream stream, LoadOptions options) {
    return Blocking.join(async.loadTo(namespace, workflowId, stream, options));
  }

  /**
   * Loads the newest checkpoint, whole and in the format of the caller.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param format the format that the caller works with
   * @return the checkpoint
   * @throws WorkflowCheckpointResumeException a subclass for each reason
   */
  public LoadedCheckpoint resume(String namespace, String workflowId, Format format) {
    return resume(namespace, workflowId, format, Migrations.none(), LoadOptions.defaults());
  }

  /**
   * Loads the newest checkpoint, whole and in the format of the caller.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param format the format that the caller works with
   * @param migrations bring older versions to it
   * @param options how; which checkpoint and which formats follows from the other arguments
   * @return the checkpoint
   * @throws WorkflowCheckpointResumeException a subclass for each reason; its {@code lastGood}
   *     names the newest checkpoint that could be resumed from
   */
  public LoadedCheckpoint resume(
      String namespace,
      String workflowId,
      Format format,
      Migrations migrations,
      LoadOptions options) {
    return Blocking.join(async.resume(namespace, workflowId, format, migrations, options));
  }

  /**
   * Lists checkpoints, newest first, over all pages.
   *
   * @param namespace the namespace
   * @param workflowId the workflow; "" for every workflow of the namespace, one after the other
   * @param options which checkpoints
   * @return the checkpoints; the iteration throws a {@link HoldfastException}
   */
  public PagedIterable<Checkpoint> list(String namespace, String workflowId, ListOptions options) {
    return new PagedIterable<>(() -> async.list(namespace, workflowId, options));
  }

  /**
   * Lists the workflows of a namespace, over all pages.
   *
   * @param namespace the namespace
   * @param prefix the text that their ids begin with; "" for all
   * @return the workflows; the iteration throws a {@link HoldfastException}
   */
  public PagedIterable<WorkflowInfo> listWorkflows(String namespace, String prefix) {
    return new PagedIterable<>(() -> async.listWorkflows(namespace, prefix));
  }

  /**
   * Lists the entries of a workflow's log, newest first, over all pages: checkpoints, also deleted
   * ones, fences, deletions, collections and damage.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param options which entries
   * @return the entries; the iteration throws a {@link HoldfastException}, {@link
   *     UnimplementedException} if the server is older
   */
  public PagedIterable<LogEntry> log(String namespace, String workflowId, LogOptions options) {
    return new PagedIterable<>(() -> async.log(namespace, workflowId, options));
  }

  /**
   * Lists the namespaces that the caller may read, in no particular order, over all pages.
   *
   * @param prefix the text that they begin with; "" for all
   * @return the namespaces; the iteration throws a {@link HoldfastException}, {@link
   *     UnimplementedException} if the server is older
   */
  public PagedIterable<String> namespaces(String prefix) {
    return new PagedIterable<>(() -> async.namespaces(prefix));
  }

  /**
   * Measures what workflows take in the store, over all pages. Damage lowers the figures and does
   * not end the iteration. {@link AsyncHoldfastClient#usage} returns the figures of the namespace
   * too.
   *
   * @param namespace the namespace
   * @param options what is measured of which workflows
   * @return the workflows; the iteration throws a {@link HoldfastException}, {@link
   *     WorkflowNotFoundException} if the store has nothing of the workflow that is named, {@link
   *     UnimplementedException} if the server is older
   */
  public PagedIterable<WorkflowUsage> usage(String namespace, UsageOptions options) {
    return new PagedIterable<>(() -> UsagePage.listed(async.usage(namespace, options)));
  }

  /**
   * Checks whether a workflow can be resumed. Damage is a finding, not an error.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param options which checkpoint, and how
   * @return the findings
   * @throws HoldfastException the validation itself failed
   */
  public Validation validate(String namespace, String workflowId, ValidateOptions options) {
    return Blocking.join(async.validate(namespace, workflowId, options));
  }

  /**
   * Becomes the only writer of a workflow: from now on, saves with a lower epoch are refused.
   *
   * @param namespace the namespace
   * @param workflowId the workflow, which need not exist yet
   * @param options how
   * @return the writer
   * @throws LeaseHeldException the lease of another writer has not ended
   * @throws RevisionConflictException a newer entry conflicts with the expected revision
   * @throws HoldfastException a subclass for each other reason
   */
  public Writer acquireWriter(String namespace, String workflowId, AcquireOptions options) {
    return Blocking.join(async.acquireWriter(namespace, workflowId, options));
  }

  /**
   * Deletes a checkpoint.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param checkpointId the checkpoint
   * @param options how
   * @return the revision of the deletion, the new head of the log
   * @throws HoldfastException a subclass for each reason
   */
  public long delete(
      String namespace, String workflowId, String checkpointId, WriteOptions options) {
    return Blocking.join(async.delete(namespace, workflowId, checkpointId, options));
  }

  /**
   * Deletes every checkpoint of a workflow, and all records.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param options how
   * @return the revision of the deletion, the new head of the log
   * @throws HoldfastException a subclass for each reason
   */
  public long deleteWorkflow(String namespace, String workflowId, WriteOptions options) {
    return Blocking.join(async.deleteWorkflow(namespace, workflowId, options));
  }

  /**
   * Deletes the checkpoints of a workflow, except the newest ones and those that these need.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param keepLast how many of the newest checkpoints stay, at least 1
   * @param options how
   * @return how many were deleted
   * @throws HoldfastException a subclass for each reason
   */
  public long prune(String namespace, String workflowId, int keepLast, WriteOptions options) {
    return Blocking.join(async.prune(namespace, workflowId, keepLast, options));
  }

  /**
   * Attaches records to a checkpoint id, whether the checkpoint exists or not. Up to 3 MiB and 1000
   * records go in one call, all of them or none; more go in several calls, in order.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param checkpointId the checkpoint
   * @param records the records; one whose key exists is ignored, unless it replaces
   * @param options how; the time is for each call
   * @throws HoldfastException a subclass for each reason
   */
  public void attach(
      String namespace,
      String workflowId,
      String checkpointId,
      List<CheckpointRecord> records,
      WriteOptions options) {
    Blocking.join(async.attach(namespace, workflowId, checkpointId, records, options));
  }

  /**
   * Returns the records of a checkpoint id, whether the checkpoint exists or not.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param checkpointId the checkpoint
   * @return the records in the order of their keys
   * @throws HoldfastException a subclass for each reason
   */
  public List<CheckpointRecord> records(String namespace, String workflowId, String checkpointId) {
    return Blocking.join(async.records(namespace, workflowId, checkpointId));
  }

  /**
   * Returns the records of a checkpoint id, whether the checkpoint exists or not.
   *
   * @param namespace the namespace
   * @param workflowId the workflow
   * @param checkpointId the checkpoint
   * @param timeout the time for everything, retries included
   * @return the records in the order of their keys
   * @throws HoldfastException a subclass for each reason
   */
  public List<CheckpointRecord> records(
      String namespace, String workflowId, String checkpointId, Duration timeout) {
    return Blocking.join(async.records(namespace, workflowId, checkpointId, timeout));
  }

  /**
   * Returns what the server can do.
   *
   * @return its version, features and limits
   * @throws HoldfastException a subclass for each reason
   */
  public Capabilities capabilities() {
    return Blocking.join(async.capabilities());
  }

  /** Builds a client. */
  public static final class Builder {
    private static final Duration TIMEOUT = Duration.ofSeconds(30);

    private final String target;
    private final List<ClientInterceptor> interceptors = new ArrayList<>();
    private Duration timeout = TIMEOUT;
    private RetryPolicy retry = RetryPolicy.defaults();
    private Producer producer = Producer.getDefaultInstance();
    private Optional<Tls> tls = Optional.empty();
    private Tokens tokens = Tokens.none();
    private boolean allowsPlaintextToken;
    private Optional<OpenTelemetry> openTelemetry = Optional.empty();

    private Builder(String target) {
      this.target = target;
    }

    /**
     * Sets the time for a logical call with all its retries, if the call sets none.
     *
     * @param time the time, at most 366 days; 30 seconds by default
     * @return this builder
     */
    public Builder timeout(Duration time) {
      timeout = Arguments.duration("timeout", time);
      return this;
    }

    /**
     * Sets how calls are retried.
     *
     * @param policy the policy
     * @return this builder
     */
    public Builder retry(RetryPolicy policy) {
      retry = Arguments.present("retry", policy);
      return this;
    }

    /**
     * Names the calling program. It is stored with each checkpoint.
     *
     * @param name its name
     * @param version its version
     * @return this builder
     */
    public Builder producer(String name, String version) {
      producer =
          Producer.newBuilder()
              .setName(Arguments.text("producer.name", name))
              .setVersion(Arguments.text("producer.version", version))
              .build();
      return this;
    }

    /**
     * Uses TLS. A target {@code grpcs://host:port} does so with the authorities of the Java
     * runtime.
     *
     * @param settings how
     * @return this builder
     */
    public Builder tls(Tls settings) {
      tls = Optional.of(Arguments.present("tls", settings));
      return this;
    }

    /**
     * Sends a token with each call, so that the server knows the caller.
     *
     * @param token the token
     * @return this builder
     */
    public Builder token(String token) {
      tokens = Tokens.of(token);
      return this;
    }

    /**
     * Sends a token with each call. The source is called before the first call, and again when a
     * server has refused the token.
     *
     * @param source returns a token; it may block
     * @return this builder
     */
    public Builder token(Supplier<String> source) {
      tokens = Tokens.from(Arguments.present("token", source));
      return this;
    }

    /**
     * Allows to send the token in plaintext to another machine, where others can read it.
     *
     * @return this builder
     */
    public Builder allowPlaintextToken() {
      allowsPlaintextToken = true;
      return this;
    }

    /**
     * Sets where spans and metrics go.
     *
     * @param given by default that of {@link GlobalOpenTelemetry}
     * @return this builder
     */
    public Builder openTelemetry(OpenTelemetry given) {
      openTelemetry = Optional.of(Arguments.present("open_telemetry", given));
      return this;
    }

    /**
     * Adds an interceptor of gRPC calls. Each attempt of a call passes it.
     *
     * @param interceptor the interceptor; the first one added is the outermost
     * @return this builder
     */
    public Builder interceptor(ClientInterceptor interceptor) {
      interceptors.add(0, Arguments.present("interceptor", interceptor));
      return this;
    }

    /**
     * Builds the client. It connects with its first call.
     *
     * @return the client, which must be closed
     * @throws InvalidRequestException the target or a file of TLS cannot be used, or the token
     *     would be sent in plaintext to another machine
     */
    public HoldfastClient build() {
      Targets parsed = Targets.of(target);
      Optional<Tls> used =
          tls.isEmpty() && parsed.hasTls() ? Optional.of(Tls.systemAuthorities()) : tls;
      boolean namesServer = used.flatMap(Tls::serverName).isPresent();
      if (used.isPresent() && !parsed.addresses().isEmpty() && !namesServer) {
        throw Arguments.invalid(
            "tls.server_name", "must name the server, because the target has several addresses");
      }
      boolean isPrivate = used.isPresent() || parsed.isLoopback() || allowsPlaintextToken;
      if (!tokens.isNone() && !isPrivate) {
        throw Arguments.invalid(
            "token",
            "would be sent in plaintext to '"
                + target
                + "', where others can read it: use TLS, or"
                + " allow it with allowPlaintextToken()");
      }
      Telemetry telemetry = new Telemetry(openTelemetry.orElseGet(GlobalOpenTelemetry::getOrNoop));
      Connection connection = new Connection(parsed, used, List.copyOf(interceptors));
      Caller caller = new Caller(connection, retry, tokens, telemetry);
      return new HoldfastClient(new AsyncHoldfastClient(caller, timeout, producer));
    }
  }
}
