package dev.holdfast.client;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFileAttributeView;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;
import java.util.Set;

/** The new content of a file or a stream, in a temporary file until it is whole. */
abstract class Draft implements Sink, AutoCloseable {
  final Path path;
  final FileChannel channel;

  private Draft(Path path) throws IOException {
    this.path = path;
    this.channel = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE);
  }

  /** Returns a draft that replaces a file, whose folder must exist. A link is followed. */
  static Draft of(Path file) throws IOException {
    Path target = Files.exists(file) ? file.toRealPath() : file.toAbsolutePath();
    if (Files.exists(target) && !Files.isRegularFile(target)) {
      // A device or a pipe cannot be replaced.
      return new Copied(Files.newOutputStream(target), true);
    }
    return new Beside(target);
  }

  /** Returns a draft that is copied to a stream, which stays open. */
  static Draft of(OutputStream stream) throws IOException {
    return new Copied(stream, false);
  }

  /** Lets the file or the stream have the content. */
  abstract void commit() throws IOException;

  @Override
  public void write(byte[] data, int offset, int length) throws IOException {
    ByteBuffer rest = ByteBuffer.wrap(data, offset, length);
    while (rest.hasRemaining()) {
      channel.write(rest);
    }
  }

  @Override
  public void restart() throws IOException {
    channel.truncate(0);
  }

  /** Drops the content, unless it was committed. */
  @Override
  public void close() throws IOException {
    channel.close();
    Files.deleteIfExists(path);
  }

  private static final class Beside extends Draft {
    private final Path target;
    private final Optional<Set<PosixFilePermission>> usual;

    Beside(Path target) throws IOException {
      // Unlike a temporary file, it has the mode of any new file of this process.
      super(Files.createFile(target.resolveSibling(".holdfast-" + RequestIds.create() + ".tmp")));
      this.target = target;
      PosixFileAttributeView mode = mode();
      usual = mode == null ? Optional.empty() : Optional.of(mode.readAttributes().permissions());
      if (mode != null) {
        mode.setPermissions(PosixFilePermissions.fromString("rw-------"));
      }
    }

    @Override
    void commit() throws IOException {
      copyMode();
      channel.force(true);
      channel.close();
      try {
        Files.move(path, target, StandardCopyOption.ATOMIC_MOVE);
      } catch (AtomicMoveNotSupportedException windows) {
        Files.move(path, target, StandardCopyOption.REPLACE_EXISTING);
      }
    }

    /** Gives the draft the mode of the file that it replaces, or that of a new file. */
    private void copyMode() throws IOException {
      if (usual.isPresent()) {
        mode()
            .setPermissions(
                Files.exists(target) ? Files.getPosixFilePermissions(target) : usual.get());
      }
    }

    private PosixFileAttributeView mode() {
      return Files.getFileAttributeView(path, PosixFileAttributeView.class);
    }
  }

  private static final class Copied extends Draft {
    private final OutputStream target;
    private final boolean isOwned;

    Copied(OutputStream target, boolean isOwned) throws IOException {
      super(Files.createTempFile("holdfast-", ".tmp"));
      this.target = target;
      this.isOwned = isOwned;
    }

    @Override
    void commit() throws IOException {
      channel.position(0);
      Channels.newInputStream(channel).transferTo(target);
      target.flush();
    }

    @Override
    public void close() throws IOException {
      try {
        super.close();
      } finally {
        if (isOwned) {
          target.close();
        }
      }
    }
  }
}
