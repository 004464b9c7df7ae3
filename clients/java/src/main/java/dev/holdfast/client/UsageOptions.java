package dev.holdfast.client;

import dev.holdfast.v1.GetUsageRequest;
import dev.holdfast.v1.UsageView;
import java.time.Duration;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * What is measured of which workflows. An instance is immutable: each method returns another one.
 */
public final class UsageOptions {
  private static final UsageOptions DEFAULTS =
      new UsageOptions(
          GetUsageRequest.newBuilder().setView(UsageView.USAGE_VIEW_FULL).build(),
          Optional.empty());

  private final GetUsageRequest request;
  private final Optional<Duration> timeout;

  private UsageOptions(GetUsageRequest request, Optional<Duration> timeout) {
    this.request = request;
    this.timeout = timeout;
  }

  /**
   * Returns the defaults: all figures of every workflow.
   *
   * @return the options
   */
  public static UsageOptions defaults() {
    return DEFAULTS;
  }

  /**
   * Names one workflow.
   *
   * @param id its id; "" for every workflow of the namespace
   * @return the options
   */
  public UsageOptions workflowId(String id) {
    return with(request -> request.setWorkflowId(Arguments.text("workflow_id", id)));
  }

  /**
   * Measures the workflows only whose ids begin with a text.
   *
   * @param text the text; "" for all
   * @return the options
   */
  public UsageOptions prefix(String text) {
    return with(request -> request.setWorkflowIdPrefix(Arguments.text("prefix", text)));
  }

  /**
   * Leaves out checkpoints and their sizes, so that no commit marker has to be read.
   *
   * @return the options
   */
  public UsageOptions storedOnly() {
    return with(request -> request.setView(UsageView.USAGE_VIEW_STORED));
  }

  /**
   * Sets how many workflows are requested at a time.
   *
   * @param size the number, at most 1000; 0: the server chooses
   * @return the options
   */
  public UsageOptions pageSize(int size) {
    return with(request -> request.setPageSize(size));
  }

  /**
   * Limits the time. It begins again with each page that measures something.
   *
   * @param time for all pages, retries included; by default that of the client
   * @return the options
   */
  public UsageOptions timeout(Duration time) {
    return new UsageOptions(request, Optional.of(Arguments.duration("timeout", time)));
  }

  GetUsageRequest request(String namespace) {
    return request.toBuilder().setNamespace(Arguments.text("namespace", namespace)).build();
  }

  Optional<Duration> timeout() {
    return timeout;
  }

  private UsageOptions with(Consumer<GetUsageRequest.Builder> change) {
    GetUsageRequest.Builder changed = request.toBuilder();
    change.accept(changed);
    return new UsageOptions(changed.build(), timeout);
  }
}
