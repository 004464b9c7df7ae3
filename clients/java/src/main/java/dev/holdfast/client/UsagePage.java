package dev.holdfast.client;

import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;

/**
 * A page of what workflows take in the store. It may be empty and still not be the last one: a
 * large workflow takes several pages.
 */
public final class UsagePage {
  private final List<WorkflowUsage> workflows;
  private final Optional<WorkflowUsage> unfinished;
  private final Optional<NamespaceUsage> total;
  private final long damagedListings;
  private final Optional<Supplier<CompletableFuture<UsagePage>>> following;

  UsagePage(
      List<WorkflowUsage> workflows,
      Optional<WorkflowUsage> unfinished,
      Optional<NamespaceUsage> total,
      long damagedListings,
      Optional<Supplier<CompletableFuture<UsagePage>>> following) {
    this.workflows = List.copyOf(workflows);
    this.unfinished = unfinished;
    this.total = total;
    this.damagedListings = damagedListings;
    this.following = following;
  }

  /**
   * Returns the workflows of this page.
   *
   * @return the workflows, each once in all pages
   */
  public List<WorkflowUsage> workflows() {
    return workflows;
  }

  /**
   * Returns the workflow in which the page ends, as far as it is measured. Show it as progress
   * only: the workflow comes again, whole, on a later page.
   *
   * @return the workflow; empty if the page ends after one
   */
  public Optional<WorkflowUsage> unfinished() {
    return unfinished;
  }

  /**
   * Returns the namespace as its quotas count it.
   *
   * @return the namespace; empty if it has no quota and the server has not counted it yet
   */
  public Optional<NamespaceUsage> total() {
    return total;
  }

  /**
   * Returns how many listings of this page met damage. Workflows and objects there are left out.
   *
   * @return how many
   */
  public long damagedListings() {
    return damagedListings;
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
   * Requests the next page, within the time that is left.
   *
   * @return the page; empty if this is the last one
   */
  public Optional<CompletableFuture<UsagePage>> next() {
    return following.map(Supplier::get);
  }

  /** Returns the workflows as a page of a list. */
  Page<WorkflowUsage> listed() {
    return new Page<>(workflows, following.map(next -> () -> listed(next.get())));
  }

  static CompletableFuture<Page<WorkflowUsage>> listed(CompletableFuture<UsagePage> page) {
    return Cancellation.of(page).published(page.thenApply(UsagePage::listed));
  }
}
