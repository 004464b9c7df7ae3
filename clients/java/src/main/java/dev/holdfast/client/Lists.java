package dev.holdfast.client;

import dev.holdfast.v1.CheckpointServiceGrpc;
import dev.holdfast.v1.GetUsageRequest;
import dev.holdfast.v1.ListLogRequest;
import dev.holdfast.v1.ListNamespacesRequest;
import dev.holdfast.v1.ListRequest;
import dev.holdfast.v1.ListResponse;
import dev.holdfast.v1.ListWorkflowsRequest;
import dev.holdfast.v1.SkippedCheckpoint;
import dev.holdfast.v1.Workflow;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * Lists checkpoints, workflows, the entries of a log, namespaces and what workflows take, page by
 * page, within one time for all of them.
 */
final class Lists {
  private final Caller caller;

  Lists(Caller caller) {
    this.caller = caller;
  }

  CompletableFuture<Page<Checkpoint>> checkpoints(
      Operation operation, ListRequest request, boolean isStrict) {
    return checkpoints(operation, request, isStrict, Answers.PageTokens.NONE);
  }

  private CompletableFuture<Page<Checkpoint>> checkpoints(
      Operation operation, ListRequest request, boolean isStrict, Answers.PageTokens tokens) {
    return caller.unary(
        operation,
        CheckpointServiceGrpc.getListMethod(),
        request,
        answer -> {
          if (isStrict) {
            requireWhole(answer);
          }
          List<Checkpoint> items = new ArrayList<>();
          for (dev.holdfast.v1.Checkpoint each : answer.getCheckpointsList()) {
            Answers.requireNamed(each, request.getNamespace(), request.getWorkflowId(), "");
            items.add(Messages.checkpoint(each, false));
          }
          return page(
              operation,
              items,
              answer.getNextPageToken(),
              tokens,
              next ->
                  checkpoints(
                      next.operation(),
                      request.toBuilder().setPageToken(next.token()).build(),
                      isStrict,
                      next.tokens()));
        });
  }

  CompletableFuture<Page<WorkflowInfo>> workflows(
      Operation operation, ListWorkflowsRequest request) {
    return workflows(operation, request, Answers.PageTokens.NONE);
  }

  private CompletableFuture<Page<WorkflowInfo>> workflows(
      Operation operation, ListWorkflowsRequest request, Answers.PageTokens tokens) {
    return caller.unary(
        operation,
        CheckpointServiceGrpc.getListWorkflowsMethod(),
        request,
        answer ->
            page(
                operation,
                answer.getWorkflowsList().stream().map(each -> info(each, request)).toList(),
                answer.getNextPageToken(),
                tokens,
                next ->
                    workflows(
                        next.operation(),
                        request.toBuilder().setPageToken(next.token()).build(),
                        next.tokens())));
  }

  CompletableFuture<Page<LogEntry>> log(Operation operation, ListLogRequest request) {
    return log(operation, request, Answers.PageTokens.NONE);
  }

  private CompletableFuture<Page<LogEntry>> log(
      Operation operation, ListLogRequest request, Answers.PageTokens tokens) {
    return caller.unary(
        operation,
        CheckpointServiceGrpc.getListLogMethod(),
        request,
        answer -> {
          Answers.requireEntries(answer.getEntriesList(), request);
          return page(
              operation,
              answer.getEntriesList().stream().map(LogEntry::of).toList(),
              answer.getNextPageToken(),
              tokens,
              next ->
                  log(
                      next.operation(),
                      request.toBuilder().setPageToken(next.token()).build(),
                      next.tokens()));
        });
  }

  CompletableFuture<Page<String>> namespaces(Operation operation, ListNamespacesRequest request) {
    return namespaces(operation, request, Answers.PageTokens.NONE);
  }

  private CompletableFuture<Page<String>> namespaces(
      Operation operation, ListNamespacesRequest request, Answers.PageTokens tokens) {
    return caller.unary(
        operation,
        CheckpointServiceGrpc.getListNamespacesMethod(),
        request,
        answer -> {
          for (String found : answer.getNamespacesList()) {
            if (found.isEmpty() || !found.startsWith(request.getNamespacePrefix())) {
              throw Reasons.wrong("namespace '" + found + "', which was not requested");
            }
          }
          return page(
              operation,
              answer.getNamespacesList(),
              answer.getNextPageToken(),
              tokens,
              next ->
                  namespaces(
                      next.operation(),
                      request.toBuilder().setPageToken(next.token()).build(),
                      next.tokens()));
        });
  }

  CompletableFuture<UsagePage> usage(Operation operation, GetUsageRequest request) {
    return usage(operation, request, Answers.PageTokens.NONE);
  }

  private CompletableFuture<UsagePage> usage(
      Operation operation, GetUsageRequest request, Answers.PageTokens tokens) {
    return caller.unary(
        operation,
        CheckpointServiceGrpc.getGetUsageMethod(),
        request,
        answer -> {
          if (answer.getWorkflowsCount() > 0 || answer.hasUnfinished()) {
            // A large namespace takes long, and each page is progress.
            operation.renew();
          }
          return new UsagePage(
              answer.getWorkflowsList().stream()
                  .map(each -> WorkflowUsage.of(each, request))
                  .toList(),
              answer.hasUnfinished()
                  ? Optional.of(WorkflowUsage.of(answer.getUnfinished(), request))
                  : Optional.empty(),
              answer.hasTotal()
                  ? Optional.of(NamespaceUsage.of(answer.getTotal()))
                  : Optional.empty(),
              WorkflowUsage.counted(answer.getDamagedListings()),
              following(
                  operation,
                  answer.getNextPageToken(),
                  tokens,
                  next ->
                      usage(
                          next.operation(),
                          request.toBuilder().setPageToken(next.token()).build(),
                          next.tokens())));
        });
  }

  /** What a page is requested with. */
  private record Next(Operation operation, String token, Answers.PageTokens tokens) {}

  private static <T> Page<T> page(
      Operation operation,
      List<T> items,
      String token,
      Answers.PageTokens tokens,
      Function<Next, CompletableFuture<Page<T>>> following) {
    return new Page<>(items, following(operation, token, tokens, following));
  }

  /** Returns how the next page is requested. Each request of it is cancelled by itself. */
  private static <P> Optional<Supplier<CompletableFuture<P>>> following(
      Operation operation,
      String token,
      Answers.PageTokens tokens,
      Function<Next, CompletableFuture<P>> request) {
    if (token.isEmpty()) {
      return Optional.empty();
    }
    Answers.PageTokens known = tokens.with(token);
    return Optional.of(
        () -> {
          Operation own = operation.next();
          return own.published(request.apply(new Next(own, token, known)));
        });
  }

  private static WorkflowInfo info(Workflow found, ListWorkflowsRequest request) {
    boolean isRequested =
        found.getNamespace().equals(request.getNamespace())
            && found.getWorkflowId().startsWith(request.getWorkflowIdPrefix());
    if (!isRequested) {
      throw Reasons.wrong("workflow '" + found.getWorkflowId() + "', which was not requested");
    }
    return new WorkflowInfo(
        found.getNamespace(),
        found.getWorkflowId(),
        found.getHeadRevision(),
        found.getCheckpointRevision(),
        found.getEpoch(),
        Messages.instant(found.getUpdateTime()));
  }

  private static void requireWhole(ListResponse answer) {
    for (SkippedCheckpoint damaged : answer.getSkippedList()) {
      throw Reasons.exception(
          Reasons.failure(damaged.getReason(), damaged.getMessage())
              .withMetadata("revision", Long.toString(damaged.getRevision())),
          null);
    }
  }
}
