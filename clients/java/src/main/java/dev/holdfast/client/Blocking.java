package dev.holdfast.client;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/** Waits for futures. */
final class Blocking {
  private Blocking() {}

  /**
   * Returns the value of a future, or throws what it failed with, with the stack of this thread.
   *
   * @throws CallInterruptedException the thread was interrupted; the call is cancelled
   */
  static <T> T join(CompletableFuture<T> future) {
    try {
      return future.get();
    } catch (InterruptedException interrupted) {
      future.cancel(true);
      Thread.currentThread().interrupt();
      throw Reasons.exception(Reasons.interrupted(), interrupted);
    } catch (ExecutionException failed) {
      Throwable failure = failed.getCause();
      if (failure instanceof HoldfastException error) {
        error.fillInStackTrace();
        throw error;
      }
      if (failure instanceof RuntimeException error) {
        error.addSuppressed(new CallerStack());
        throw error;
      }
      if (failure instanceof Error error) {
        throw error;
      }
      throw new IllegalStateException(failure);
    }
  }

  /** Where a call began that failed in a thread of the client. */
  private static final class CallerStack extends RuntimeException {
    private static final long serialVersionUID = 1L;

    CallerStack() {
      super("the call began here");
    }
  }
}
