package dev.holdfast.client;

import dev.holdfast.v1.CheckpointServiceGrpc;
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

/** Lists checkpoints and workflows, page by page, within one time for all of them. */
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

  /** What a page is requested with. */
  private record Next(Operation operation, String token, Answers.PageTokens tokens) {}

  /** Returns a page. Each request of the one that follows it is cancelled by itself. */
  private static <T> Page<T> page(
      Operation operation,
      List<T> items,
      String token,
      Answers.PageTokens tokens,
      Function<Next, CompletableFuture<Page<T>>> following) {
    if (token.isEmpty()) {
      return new Page<>(items, Optional.empty());
    }
    Answers.PageTokens known = tokens.with(token);
    return new Page<>(
        items,
        Optional.of(
            () -> {
              Operation own = operation.next();
              return own.published(following.apply(new Next(own, token, known)));
            }));
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
