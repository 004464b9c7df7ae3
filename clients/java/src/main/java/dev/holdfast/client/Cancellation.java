package dev.holdfast.client;

import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/** How a call of the public API is cancelled: the step that it waits for is ended. */
class Cancellation {
  private boolean isCancelled;
  private Runnable current = () -> {};

  /** Returns how a call is cancelled that is one step. */
  static Cancellation of(CompletableFuture<?> step) {
    Cancellation cancellation = new Cancellation();
    cancellation.onCancel(() -> step.cancel(true));
    return cancellation;
  }

  /** Sets what ends the current step. It runs at once if the call was cancelled already. */
  final void onCancel(Runnable ending) {
    synchronized (this) {
      current = ending;
      if (!isCancelled) {
        return;
      }
    }
    ending.run();
  }

  final void cancel() {
    Runnable ending;
    synchronized (this) {
      isCancelled = true;
      ending = current;
    }
    ending.run();
  }

  final synchronized boolean isCancelled() {
    return isCancelled;
  }

  final void requireRunning() {
    if (isCancelled()) {
      throw new CancellationException("the call was cancelled");
    }
  }

  /**
   * Returns the future that a caller gets. Its errors are bare. If the caller cancels it, lets it
   * time out or completes it otherwise, the call ends.
   */
  final <T> CompletableFuture<T> published(CompletableFuture<T> inner) {
    CompletableFuture<T> published = new CompletableFuture<>();
    inner.whenComplete(
        (value, failure) -> {
          if (failure == null) {
            published.complete(value);
          } else {
            published.completeExceptionally(bare(failure));
          }
        });
    published.whenComplete(
        (value, failure) -> {
          if (!inner.isDone()) {
            cancel();
          }
        });
    return published;
  }

  /** Returns the failure that a future has wrapped. */
  static Throwable bare(Throwable failure) {
    Throwable found = failure;
    while (found instanceof CompletionException && found.getCause() != null) {
      found = found.getCause();
    }
    return found;
  }
}
