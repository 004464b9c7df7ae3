package dev.holdfast.client;

import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/**
 * A page of a list. It may be empty and still not be the last one.
 *
 * @param <T> the items of the list
 */
public final class Page<T> {
  private final List<T> items;
  private final Optional<Supplier<CompletableFuture<Page<T>>>> following;

  Page(List<T> items, Optional<Supplier<CompletableFuture<Page<T>>>> following) {
    this.items = List.copyOf(items);
    this.following = following;
  }

  /**
   * Returns the items of this page.
   *
   * @return the items
   */
  public List<T> items() {
    return items;
  }

  /**
   * Returns whether this is the last page.
   *
   * @return whether it is
   */
  public boolean isLast() {
    return following.isEmpty();
  }

  /**
   * Requests the next page, within the time that is left for the list.
   *
   * @return the page; empty if this is the last one
   */
  public Optional<CompletableFuture<Page<T>>> next() {
    return following.map(Supplier::get);
  }
}
