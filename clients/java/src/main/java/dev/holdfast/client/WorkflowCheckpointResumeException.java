package dev.holdfast.client;

import java.util.Optional;

/** A checkpoint could not be loaded or resumed from. */
public class WorkflowCheckpointResumeException extends HoldfastException {
  private static final long serialVersionUID = 1L;

  private transient volatile Checkpoint lastGood;

  WorkflowCheckpointResumeException(Failure failure) {
    super(failure);
  }

  /**
   * Returns the newest checkpoint that could be resumed from.
   *
   * @return the checkpoint; empty if {@code resume} found none, or did not look for one
   */
  public Optional<Checkpoint> lastGood() {
    return Optional.ofNullable(lastGood);
  }

  void lastGood(Optional<Checkpoint> found) {
    lastGood = found.orElse(null);
  }
}
