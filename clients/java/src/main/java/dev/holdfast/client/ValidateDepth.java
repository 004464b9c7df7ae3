package dev.holdfast.client;

/** How much a validation reads. Each depth includes the ones before it. */
public enum ValidateDepth {
  /** The marker of the checkpoint. */
  MARKER(dev.holdfast.v1.ValidateDepth.VALIDATE_DEPTH_MARKER),
  /** Whether every blob exists and has the right size. */
  PRESENCE(dev.holdfast.v1.ValidateDepth.VALIDATE_DEPTH_PRESENCE),
  /** Every byte, against its digest. */
  CHECKSUM(dev.holdfast.v1.ValidateDepth.VALIDATE_DEPTH_CHECKSUM);

  private final dev.holdfast.v1.ValidateDepth message;

  ValidateDepth(dev.holdfast.v1.ValidateDepth message) {
    this.message = message;
  }

  dev.holdfast.v1.ValidateDepth message() {
    return message;
  }
}
