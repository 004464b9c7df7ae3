package dev.holdfast.client;

import dev.holdfast.v1.Checkpoint;
import dev.holdfast.v1.PartInfo;
import java.util.LinkedHashMap;
import java.util.Map;

/** Takes the payload of one checkpoint: a sink for each part that is wanted. */
interface Sinks {
  Map<String, Sink> of(Checkpoint checkpoint);

  /** Keeps all parts in memory. */
  final class Memory implements Sinks {
    private final Map<String, Buffer> buffers = new LinkedHashMap<>();

    @Override
    public Map<String, Sink> of(Checkpoint checkpoint) {
      Answers.requireArrays(checkpoint);
      buffers.clear();
      for (PartInfo part : checkpoint.getPartsList()) {
        buffers.put(part.getName(), new Buffer(part.getSizeBytes()));
      }
      return new LinkedHashMap<>(buffers);
    }

    Map<String, byte[]> take() {
      Map<String, byte[]> parts = new LinkedHashMap<>();
      buffers.forEach((name, buffer) -> parts.put(name, buffer.take()));
      return parts;
    }
  }
}
