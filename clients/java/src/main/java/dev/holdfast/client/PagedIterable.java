package dev.holdfast.client;

import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * A list over all its pages. A page is requested once its items are wanted, and each iteration
 * begins with the first page.
 *
 * @param <T> the items of the list
 */
public final class PagedIterable<T> implements Iterable<T> {
  private final Supplier<CompletableFuture<Page<T>>> first;

  PagedIterable(Supplier<CompletableFuture<Page<T>>> first) {
    this.first = first;
  }

  @Override
  public Iterator<T> iterator() {
    return new Pages<>(first);
  }

  /**
   * Returns the items as a stream.
   *
   * @return the stream
   */
  public Stream<T> stream() {
    return StreamSupport.stream(spliterator(), false);
  }

  private static final class Pages<T> implements Iterator<T> {
    private Supplier<CompletableFuture<Page<T>>> following;
    private Iterator<T> items = java.util.Collections.emptyIterator();

    Pages(Supplier<CompletableFuture<Page<T>>> first) {
      following = first;
    }

    @Override
    public boolean hasNext() {
      while (!items.hasNext() && following != null) {
        Page<T> page = Blocking.join(following.get());
        items = page.items().iterator();
        following = page.isLast() ? null : () -> page.next().orElseThrow();
      }
      return items.hasNext();
    }

    @Override
    public T next() {
      if (!hasNext()) {
        throw new NoSuchElementException();
      }
      return items.next();
    }
  }
}
