package dev.holdfast.client;

import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Optional;

/**
 * A checkpoint with its payload.
 *
 * @param info its metadata
 * @param parts its bytes by part name, in the order in which they were saved; not copied
 * @param format the format of these bytes
 * @param fellBack whether it is older than the checkpoint that was requested
 * @param skipped the checkpoints that a fallback skipped, newest first
 * @param migratedFrom the format that it was stored in, if {@code resume} migrated it
 * @param headRevision the revision of the head, which may be a fence or a deletion; 0 if the head
 *     is damaged
 * @param records its records in the order of their keys, if they were requested
 */
public record LoadedCheckpoint(
    Checkpoint info,
    Map<String, byte[]> parts,
    Format format,
    boolean fellBack,
    List<Skipped> skipped,
    Optional<Format> migratedFrom,
    long headRevision,
    List<CheckpointRecord> records) {

  /**
   * Returns the default part, or the only part if there is no default part.
   *
   * @return its bytes
   * @throws NoSuchElementException if there are several parts and none is the default
   */
  public byte[] data() {
    if (parts.containsKey("")) {
      return parts.get("");
    }
    if (parts.size() == 1) {
      return parts.values().iterator().next();
    }
    throw new NoSuchElementException("several parts, and none is the default: " + parts.keySet());
  }

  /**
   * Returns the revision of the checkpoint.
   *
   * @return the revision
   */
  public long revision() {
    return info.revision();
  }

  /**
   * Returns the id of the checkpoint.
   *
   * @return the id
   */
  public String checkpointId() {
    return info.checkpointId();
  }

  LoadedCheckpoint migrated(Map<String, byte[]> migrated, Format wanted) {
    return new LoadedCheckpoint(
        info, migrated, wanted, fellBack, skipped, Optional.of(format), headRevision, records);
  }
}
