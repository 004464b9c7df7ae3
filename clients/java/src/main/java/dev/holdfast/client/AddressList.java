package dev.holdfast.client;

import io.grpc.EquivalentAddressGroup;
import io.grpc.NameResolver;
import io.grpc.NameResolverProvider;
import io.grpc.Status;
import io.grpc.StatusOr;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.URI;
import java.net.UnknownHostException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.Executor;

/** Resolves a target of several addresses, which gRPC for Java has no scheme for. */
final class AddressList extends NameResolver {
  private final List<String> addresses;
  private final Executor executor;
  private Listener2 listener;

  private AddressList(List<String> addresses, Executor executor) {
    this.addresses = addresses;
    this.executor = executor;
  }

  @Override
  public String getServiceAuthority() {
    return addresses.get(0);
  }

  @Override
  public void start(Listener2 given) {
    listener = given;
    refresh();
  }

  @Override
  public void refresh() {
    executor.execute(() -> listener.onResult(resolved()));
  }

  @Override
  public void shutdown() {}

  private ResolutionResult resolved() {
    List<EquivalentAddressGroup> found = new ArrayList<>();
    UnknownHostException failure = null;
    for (String address : addresses) {
      try {
        String host = Targets.host(address).replaceAll("[\\[\\]]", "");
        for (InetAddress each : InetAddress.getAllByName(host)) {
          found.add(new EquivalentAddressGroup(new InetSocketAddress(each, Targets.port(address))));
        }
      } catch (UnknownHostException unknown) {
        failure = unknown;
      }
    }
    Status none = Status.UNAVAILABLE.withDescription("no address is known").withCause(failure);
    return ResolutionResult.newBuilder()
        .setAddressesOrError(
            found.isEmpty() ? StatusOr.fromStatus(none) : StatusOr.fromValue(found))
        .build();
  }

  /** Makes the resolver of one client. */
  static final class Provider extends NameResolverProvider {
    private final String scheme;
    private final List<String> addresses;

    Provider(String scheme, List<String> addresses) {
      this.scheme = scheme;
      this.addresses = addresses;
    }

    @Override
    public NameResolver newNameResolver(URI target, NameResolver.Args args) {
      return target.getScheme().equals(scheme)
          ? new AddressList(addresses, args.getOffloadExecutor())
          : null;
    }

    @Override
    public String getDefaultScheme() {
      return scheme;
    }

    @Override
    protected boolean isAvailable() {
      return true;
    }

    @Override
    protected int priority() {
      return 5;
    }

    @Override
    public Collection<Class<? extends SocketAddress>> getProducedSocketAddressTypes() {
      return List.of(InetSocketAddress.class);
    }
  }
}
