import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.TlsChannelCredentials;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthGrpc;
import java.io.File;
import java.util.concurrent.TimeUnit;

/** Asks a server for its health over TLS. Usage: Health TARGET, in a folder with the files of TLS. */
class Health {
  public static void main(String[] arguments) throws Exception {
    ChannelCredentials credentials = TlsChannelCredentials.newBuilder()
        .trustManager(new File("ca.pem"))
        .keyManager(new File("client.pem"), new File("client-key.pem"))
        .build();
    ManagedChannel channel = Grpc.newChannelBuilder(arguments[0], credentials).build();
    var health = HealthGrpc.newBlockingStub(channel).withDeadlineAfter(20, TimeUnit.SECONDS);
    System.out.println(health.check(HealthCheckRequest.getDefaultInstance()).getStatus());
    channel.shutdownNow();
  }
}
