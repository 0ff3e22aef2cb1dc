package tokenwire.client;

import io.grpc.CallCredentials;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import java.io.File;
import java.io.IOException;
import java.security.GeneralSecurityException;
import java.time.Instant;
import java.util.Base64;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

import static java.nio.charset.StandardCharsets.UTF_8;

/** How to connect to a core. */
final class Security {
  private Security() {}

  /** Returns TLS, with our certificate if there is one (mTLS); plaintext without authorities. Files are PEM, keys PKCS #8. */
  static ChannelCredentials credentials(String authorities, String certificate, String key) throws IOException {
    if (authorities == null) {
      return InsecureChannelCredentials.create();
    }
    TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder().trustManager(new File(authorities));
    if (certificate != null) {
      tls.keyManager(new File(certificate), new File(key));
    }
    return tls.build();
  }

  /** Returns a connection to HOST:PORT that detects a vanished core within half a minute. */
  static ManagedChannel channel(String core, ChannelCredentials credentials) {
    return Grpc.newChannelBuilder(core, credentials)
        .keepAliveTime(20, TimeUnit.SECONDS)
        .keepAliveTimeout(10, TimeUnit.SECONDS)
        .build();
  }

  /** Sends the principal with each call: a JWT (HS256), valid for a minute, in the metadata. */
  static final class Principal extends CallCredentials {
    private static final Metadata.Key<String> NAME =
        Metadata.Key.of("tokenwire-principal", Metadata.ASCII_STRING_MARSHALLER);
    private final String name;
    private final byte[] key;

    /** The key is the core's TOKENWIRE_PRINCIPAL_KEY. */
    Principal(String name, byte[] key) {
      this.name = name;
      this.key = key;
    }

    @Override
    public void applyRequestMetadata(RequestInfo request, Executor executor, MetadataApplier applier) {
      try {
        Metadata metadata = new Metadata();
        metadata.put(NAME, token(Instant.now().getEpochSecond()));
        applier.apply(metadata);
      } catch (GeneralSecurityException error) {
        applier.fail(Status.UNAUTHENTICATED.withDescription("the principal can't be signed").withCause(error));
      }
    }

    private String token(long now) throws GeneralSecurityException {
      String claims = String.format(
          "{\"sub\":\"%s\",\"aud\":\"tokenwire-core\",\"iat\":%d,\"exp\":%d}", escaped(name), now, now + 60);
      String signed = encode("{\"alg\":\"HS256\",\"typ\":\"JWT\"}".getBytes(UTF_8)) + "." + encode(claims.getBytes(UTF_8));
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(key, "HmacSHA256"));
      return signed + "." + encode(mac.doFinal(signed.getBytes(UTF_8)));
    }

    /** Control characters, which JSON escapes as well, are in no principal's name: the core refuses them. */
    private static String escaped(String text) {
      return text.replace("\\", "\\\\").replace("\"", "\\\"");
    }

    private static String encode(byte[] data) {
      return Base64.getUrlEncoder().withoutPadding().encodeToString(data);
    }
  }
}
