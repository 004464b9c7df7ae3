package dev.holdfast.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;

/** Breaks calls of one method between client and server, and keeps what was sent. */
final class Faults implements ClientInterceptor {
  final List<Object> sent = new CopyOnWriteArrayList<>();
  final List<Metadata> headers = new CopyOnWriteArrayList<>();
  private final String method;
  private final int answers;
  private final AtomicInteger left;

  private Faults(String method, int times, int answers) {
    this.method = method;
    this.left = new AtomicInteger(times);
    this.answers = answers;
  }

  /** Loses the answer of the first calls, each of which has taken effect. */
  static Faults losingAnswers(String method, int times) {
    return new Faults(method, times, 0);
  }

  /** Cuts the stream of the first call after some messages from the server. */
  static Faults cutting(String method, int messages) {
    return new Faults(method, 1, messages);
  }

  /** Never sends the messages of the first call after so many others. */
  static ClientInterceptor holding(String method, int after) {
    AtomicInteger calls = new AtomicInteger();
    return new ClientInterceptor() {
      @Override
      public <Q, R> ClientCall<Q, R> interceptCall(
          MethodDescriptor<Q, R> called, CallOptions options, Channel next) {
        boolean isHeld =
            called.getBareMethodName().equals(method) && calls.getAndIncrement() == after;
        return new SimpleForwardingClientCall<>(next.newCall(called, options)) {
          @Override
          public void halfClose() {
            if (!isHeld) {
              super.halfClose();
            }
          }
        };
      }
    };
  }

  static Faults none() {
    return new Faults("", 0, 0);
  }

  @Override
  public <Q, R> ClientCall<Q, R> interceptCall(
      MethodDescriptor<Q, R> called, CallOptions options, Channel next) {
    boolean isHit =
        called.getBareMethodName().equals(method) && left.getAndUpdate(n -> Math.max(0, n - 1)) > 0;
    return new SimpleForwardingClientCall<>(next.newCall(called, options)) {
      @Override
      public void start(Listener<R> listener, Metadata given) {
        headers.add(given);
        super.start(isHit ? breaking(listener, this) : listener, given);
      }

      @Override
      public void sendMessage(Q message) {
        sent.add(message);
        super.sendMessage(message);
      }
    };
  }

  private <R> ClientCall.Listener<R> breaking(ClientCall.Listener<R> to, ClientCall<?, R> call) {
    return new SimpleForwardingClientCallListener<>(to) {
      private int received;

      @Override
      public void onMessage(R message) {
        if (received++ < answers) {
          super.onMessage(message);
        } else {
          call.cancel("cut by the test", null);
        }
      }

      @Override
      public void onClose(Status status, Metadata trailers) {
        super.onClose(Status.UNAVAILABLE.withDescription("cut by the test"), new Metadata());
      }
    };
  }
}
