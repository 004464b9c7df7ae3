package dev.holdfast.client;

import dev.holdfast.v1.Checkpoint;
import dev.holdfast.v1.LoadStreamHeader;
import dev.holdfast.v1.PartInfo;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Takes one part of a checkpoint into a sink: the default part or the only one, if none is named.
 */
final class PartInto implements Sinks {
  private final Sink sink;
  private final Optional<String> part;
  private String chosen = "";

  PartInto(Sink sink, Optional<String> part) {
    this.sink = sink;
    this.part = part;
  }

  @Override
  public Map<String, Sink> of(Checkpoint checkpoint) {
    List<String> names = checkpoint.getPartsList().stream().map(PartInfo::getName).toList();
    chosen = part.orElse(names.size() == 1 ? names.get(0) : "");
    if (!names.contains(chosen)) {
      throw Arguments.invalid("part", "must be one of " + names + ", not '" + chosen + "'");
    }
    return Map.of(chosen, sink);
  }

  /** Writes the part from an answer that includes the payload. */
  void write(Map<String, byte[]> parts) {
    byte[] data = parts.get(chosen);
    try {
      sink.write(data, 0, data.length);
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  LoadedFile loaded(LoadStreamHeader header) {
    var info = Messages.checkpoint(header.getCheckpoint(), false);
    var written =
        info.parts().stream().filter(each -> each.name().equals(chosen)).findFirst().orElseThrow();
    return new LoadedFile(
        info,
        written,
        header.getFellBack(),
        Messages.skipped(header.getSkippedList()),
        header.getHeadRevision());
  }
}
