package tokenwire.client;

import io.grpc.ChannelCredentials;
import io.grpc.Deadline;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.io.PrintStream;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import tokenwire.client.Position.StreamBroke;
import tokenwire.v1.Cursor;
import tokenwire.v1.Event;
import tokenwire.v1.RunSpec;

import static java.nio.charset.StandardCharsets.UTF_8;

/** Asks an agent, or follows a run, straight at the core. */
public final class Main {
  private static final String USAGE =
      """
      Usage: java -jar java-client.jar [options] MESSAGE
             java -jar java-client.jar [options] --run RUN_ID [--after ID]

        --core HOST:PORT,...  the core, or several that share a store (TOKENWIRE_CORE) [127.0.0.1:50051]
        --agent NAME          the agent [the core's default]
        --session ID          the conversation
        --deadline SECONDS    the call's deadline, which is the run's too
        --patience SECONDS    how long to go on trying without contact to a core [10]
        --run RUN_ID          follow a run instead of starting one
        --after ID            ... after this event: RUN_ID.EPOCH.SEQUENCE
        --tls-ca FILE         trusted authorities: turns TLS on
        --tls-cert FILE       our certificate, where the core wants one (mTLS)
        --tls-key FILE        ... and its key
        --principal NAME      the principal to call as, signed with TOKENWIRE_PRINCIPAL_KEY

      Ctrl-C stops the run.

      Exit status: 0 done, 1 the run failed or was refused, 2 wrong usage, 3 no core, 4 the stream was lost, 130 stopped.""";

  private static final int DONE = 0;
  private static final int FAILED = 1;
  private static final int USAGE_ERROR = 2;
  private static final int UNREACHABLE = 3;
  private static final int LOST = 4;
  private static final PrintStream ANSWER = new PrintStream(System.out, true, UTF_8);

  /** Open until the reading has ended. */
  private static final CountDownLatch READING = new CountDownLatch(1);

  private Main() {}

  public static void main(String[] arguments) throws InterruptedException {
    RunReader reader;
    try {
      reader = reader(parse(arguments));
    } catch (IllegalArgumentException | IOException error) {
      System.err.println(error.getMessage());
      System.exit(USAGE_ERROR);
      return;
    }
    Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(reader)));
    int status = ask(reader);
    READING.countDown();
    System.exit(status);
  }

  /** Reads a run to its end and returns the exit status. */
  private static int ask(RunReader reader) throws InterruptedException {
    try {
      reader.read(Main::show);
    } catch (StatusRuntimeException | StreamBroke error) {
      return failed(reader, new Failure(error));
    }
    return reader.at.outcome.equals("done") ? DONE : FAILED;
  }

  /** Prints an event: the answer to stdout, the rest to stderr. Unknown payloads are skipped. */
  private static void show(Event event) {
    switch (event.getPayloadCase()) {
      case TEXT_DELTA -> ANSWER.print(event.getTextDelta().getContent());
      case RUN_STARTED -> System.err.println("run " + event.getRunStarted().getRunId());
      case PROGRESS -> System.err.println("[" + event.getProgress().getPercent() + "%] " + event.getProgress().getMessage());
      case TOOL_START -> System.err.println("-> " + event.getToolStart().getTool() + " " + event.getToolStart().getArgsJson());
      case ERROR -> System.err.println(event.getError().getCode() + ": " + event.getError().getMessage());
      case DONE -> ANSWER.println();
      default -> {}
    }
    ANSWER.flush();
  }

  /** Prints why the run was not read to its end, and returns the exit status. */
  private static int failed(RunReader reader, Failure failure) {
    System.err.println(failure);
    if (failure.isRefusal() || failure.code == Status.Code.DEADLINE_EXCEEDED) {
      return FAILED;
    }
    if (!reader.at.shown.equals(Position.BEFORE)) {
      Cursor at = reader.at.shown;
      System.err.printf("go on with: --run %s --after %s.%d.%d%n", reader.at.runId, reader.at.runId,
          Math.max(1, at.getEpoch()), at.getSequence());
      return LOST;
    }
    return failure.code == Status.Code.UNAVAILABLE ? UNREACHABLE : FAILED;
  }

  /** Stops the run on Ctrl-C, which ends the process with status 130 once the end that comes of it was read. */
  private static void stop(RunReader reader) {
    if (READING.getCount() == 0) {
      return; // the process ends by itself
    }
    try {
      reader.stop();
      READING.await();
    } catch (StatusRuntimeException error) {
      System.err.println("the run could not be stopped: " + new Failure(error));
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
    }
  }

  private static RunReader reader(Map<String, String> given) throws IOException {
    List<String> cores = List.of(given.getOrDefault("core", environment("TOKENWIRE_CORE", "127.0.0.1:50051")).split(","));
    ChannelCredentials credentials = Security.credentials(given.get("tls-ca"), given.get("tls-cert"), given.get("tls-key"));
    RunReader reader;
    if (given.containsKey("run")) {
      reader = RunReader.follow(cores, credentials, given.get("run"), cursor(given.get("after")));
    } else {
      RunSpec.Builder spec = RunSpec.newBuilder().setMessage(given.get("message"));
      spec.setAgent(given.getOrDefault("agent", "")).setSessionId(given.getOrDefault("session", ""));
      reader = RunReader.start(cores, credentials, spec.build());
    }
    if (given.containsKey("deadline")) {
      reader.deadline = Deadline.after((long) (seconds(given.get("deadline")) * 1000), TimeUnit.MILLISECONDS);
    }
    reader.patience = Duration.ofMillis((long) (seconds(given.getOrDefault("patience", "10")) * 1000));
    if (given.containsKey("principal")) {
      String key = environment("TOKENWIRE_PRINCIPAL_KEY", "");
      if (key.isEmpty()) {
        throw new IllegalArgumentException("--principal needs TOKENWIRE_PRINCIPAL_KEY");
      }
      reader.principal = new Security.Principal(given.get("principal"), key.getBytes(UTF_8));
    }
    reader.say = System.err::println;
    return reader;
  }

  /** Returns options by their names, and the message. */
  private static Map<String, String> parse(String[] arguments) {
    Map<String, String> given = new HashMap<>();
    for (int number = 0; number < arguments.length; number++) {
      String word = arguments[number];
      if (!word.startsWith("--")) {
        require(given.put("message", word) == null);
      } else {
        require(USAGE.contains("  " + word + " ") && number + 1 < arguments.length);
        given.put(word.substring(2), arguments[++number]);
      }
    }
    require(given.containsKey("message") != given.containsKey("run"));
    require(given.containsKey("tls-cert") == given.containsKey("tls-key"));
    return given;
  }

  private static void require(boolean isSo) {
    if (!isSo) {
      throw new IllegalArgumentException(USAGE);
    }
  }

  private static double seconds(String text) {
    double seconds = Double.parseDouble(text);
    require(seconds >= 0);
    return seconds;
  }

  /** Returns the place that an event's id, RUN_ID.EPOCH.SEQUENCE, or its last two parts name. */
  private static Cursor cursor(String text) {
    if (text == null) {
      return Position.BEFORE;
    }
    String[] parts = text.split("\\.");
    require(parts.length > 1);
    return Cursor.newBuilder()
        .setEpoch(Integer.parseUnsignedInt(parts[parts.length - 2]))
        .setSequence(Long.parseUnsignedLong(parts[parts.length - 1]))
        .build();
  }

  private static String environment(String name, String otherwise) {
    String value = System.getenv(name);
    return value == null || value.isEmpty() ? otherwise : value;
  }
}
