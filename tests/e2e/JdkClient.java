import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;

/**
 * The JDK's own HTTP client as it comes: it asks for h2c with each first request of a connection.
 *
 * <p>java JdkClient.java URL MODE BODY: prints the status and the version, then the lines of the answer. MODE is `length`
 * (a POST that tells its length), `chunked` (one that does not), or `get`.
 */
public class JdkClient {
  public static void main(String[] arguments) throws Exception {
    for (int at = 1; at + 1 < arguments.length; at += 2) {
      var response = HttpClient.newHttpClient().send(request(arguments[0], arguments[at], arguments[at + 1]), BodyHandlers.ofLines());
      System.out.println(arguments[at] + " " + response.statusCode() + " " + response.version());
      response.body().forEach(System.out::println);
    }
  }

  private static HttpRequest request(String url, String mode, String body) {
    var asked = HttpRequest.newBuilder(URI.create(url + (mode.equals("get") ? body : "/api/chat")));
    if (mode.equals("get")) {
      return asked.build();
    }
    var bytes = body.getBytes(StandardCharsets.UTF_8);
    var publisher =
        mode.equals("length")
            ? BodyPublishers.ofByteArray(bytes)
            : BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(bytes));
    return asked.header("Content-Type", "application/json").POST(publisher).build();
  }
}
