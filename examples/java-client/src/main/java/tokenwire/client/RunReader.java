package tokenwire.client;

import io.grpc.CallCredentials;
import io.grpc.ChannelCredentials;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.time.Instant;
import java.util.Iterator;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import tokenwire.client.Position.StreamBroke;
import tokenwire.v1.AgentServiceGrpc;
import tokenwire.v1.AgentServiceGrpc.AgentServiceBlockingStub;
import tokenwire.v1.CancelCause;
import tokenwire.v1.CancelRunRequest;
import tokenwire.v1.Control;
import tokenwire.v1.Cursor;
import tokenwire.v1.Event;
import tokenwire.v1.FollowRunRequest;
import tokenwire.v1.FollowRunResponse;
import tokenwire.v1.GetRunRequest;
import tokenwire.v1.OnDisconnect;
import tokenwire.v1.RunSpec;
import tokenwire.v1.StreamRunRequest;
import tokenwire.v1.StreamRunResponse;

/**
 * Reads a run to its end: each event once, in order, over several calls and cores if needed. It follows
 * the rules of docs/grpc.md, "Following again".
 */
final class RunReader {
  private static final Duration FIRST_PAUSE = Duration.ofMillis(100);
  private static final Duration LONGEST_PAUSE = Duration.ofSeconds(1);
  private static final int UNARY_TIMEOUT_S = 5;

  final Position at = new Position();
  private final List<String> cores;
  private final ChannelCredentials credentials;
  private final RunSpec spec;
  private final CountDownLatch isKnown = new CountDownLatch(1);
  private volatile int tried; // number of cores left so far: selects the next one
  private int tries; // calls without contact
  private Instant heard = Instant.now(); // when the last contact ended
  private Duration wait = Duration.ZERO; // the delay that a draining core asks for

  /** How long to try without contact. */
  Duration patience = Duration.ofSeconds(10);

  /** The deadline of the calls, which is that of a started run too; null for none. */
  Deadline deadline;

  /** The principal to call as; null to call as ourselves. */
  CallCredentials principal;

  /** Receives notices that are not part of the run. */
  Consumer<String> say = line -> {};

  private RunReader(List<String> cores, ChannelCredentials credentials, RunSpec spec) {
    this.cores = cores;
    this.credentials = credentials;
    this.spec = spec;
  }

  /** Returns a reader that starts a run. The cores (HOST:PORT) serve the same runs. */
  static RunReader start(List<String> cores, ChannelCredentials credentials, RunSpec spec) {
    RunSpec.Builder once = spec.toBuilder(); // makes a repeated start safe
    once.setRequestId(UUID.randomUUID().toString()).setOnDisconnect(OnDisconnect.ON_DISCONNECT_GRACE);
    return new RunReader(cores, credentials, once.build());
  }

  /** Returns a reader of a run that was started before, after one of its events: from the first one on with BEFORE. */
  static RunReader follow(List<String> cores, ChannelCredentials credentials, String runId, Cursor after) {
    RunReader reader = new RunReader(cores, credentials, RunSpec.getDefaultInstance());
    reader.at.cursor = after;
    reader.learn(runId);
    return reader;
  }

  /**
   * Hands each event to `show`, once and in order, to the terminal one.
   *
   * @throws StatusRuntimeException a final refusal, or no contact within the patience
   * @throws StreamBroke no contact within the patience
   */
  void read(Consumer<Event> show) throws StreamBroke, InterruptedException {
    try {
      while (at.outcome.isEmpty()) {
        readOnceAndPause(show);
      }
    } finally {
      isKnown.countDown(); // a stop must not wait for an id that never comes
    }
  }

  private void readOnceAndPause(Consumer<Event> show) throws StreamBroke, InterruptedException {
    try {
      readOnce(show);
    } catch (StatusRuntimeException | StreamBroke error) {
      Duration pause = pauseAfter(new Failure(error));
      if (pause == null) {
        throw error;
      }
      Thread.sleep(pause.toMillis());
    }
  }

  /**
   * Cancels the run, from any thread, as soon as its id is known, retrying as needed. Reading continues
   * to the end of the run.
   *
   * @throws StatusRuntimeException it was refused, or no core answered within the patience
   */
  void stop() throws InterruptedException {
    isKnown.await();
    if (at.runId.isEmpty()) {
      return; // none was started
    }
    Instant giveUpAt = Instant.now().plus(patience);
    CancelRunRequest request =
        CancelRunRequest.newBuilder().setRunId(at.runId).setCause(CancelCause.CANCEL_CAUSE_STOP).build();
    for (int turn = 0; ; turn++) {
      ManagedChannel channel = Security.channel(cores.get((tried + turn) % cores.size()), credentials);
      try {
        stub(channel).withDeadlineAfter(UNARY_TIMEOUT_S, TimeUnit.SECONDS).cancelRun(request);
        return;
      } catch (StatusRuntimeException error) {
        if (new Failure(error).isFinal() || Instant.now().isAfter(giveUpAt)) {
          throw error;
        }
      } finally {
        channel.shutdownNow();
      }
      Thread.sleep(pauseBefore(turn).toMillis());
    }
  }

  /** Reads one stream. It returns only when the run has ended. */
  private void readOnce(Consumer<Event> show) throws StreamBroke {
    ManagedChannel channel = Security.channel(cores.get(tried % cores.size()), credentials);
    Context.CancellableContext call = Context.current().withCancellation();
    Context before = call.attach();
    try {
      readStream(stub(channel), show);
      if (at.outcome.isEmpty() && !at.runId.isEmpty()) {
        GetRunRequest request = GetRunRequest.newBuilder().setRunId(at.runId).build();
        at.conclude(stub(channel).withDeadlineAfter(UNARY_TIMEOUT_S, TimeUnit.SECONDS).getRun(request).getRun());
      }
    } finally {
      call.detach(before);
      call.cancel(null); // a stream must be ended explicitly
      channel.shutdownNow();
    }
    if (at.outcome.isEmpty()) {
      throw new StreamBroke("the stream ended before the run");
    }
  }

  /** Starts the run, or follows it as soon as it has an id, and shows what comes. */
  private void readStream(AgentServiceBlockingStub stub, Consumer<Event> show) throws StreamBroke {
    AgentServiceBlockingStub timed = deadline == null ? stub : stub.withDeadline(deadline);
    if (at.runId.isEmpty()) {
      Iterator<StreamRunResponse> started = timed.streamRun(StreamRunRequest.newBuilder().setRun(spec).build());
      while (started.hasNext()) {
        StreamRunResponse response = started.next();
        take(response.getRunId(), response.getControl(), response.getEventsList(), show);
      }
      return;
    }
    FollowRunRequest.Builder request = FollowRunRequest.newBuilder().setRunId(at.runId);
    if (!at.cursor.equals(Position.BEFORE)) {
      request.setAfter(at.cursor);
    }
    Iterator<FollowRunResponse> followed = timed.followRun(request.build());
    while (followed.hasNext()) {
      FollowRunResponse response = followed.next();
      take(response.getRunId(), response.getControl(), response.getEventsList(), show);
    }
  }

  private void take(String runId, Control control, List<Event> events, Consumer<Event> show) throws StreamBroke {
    learn(runId);
    heed(control);
    for (Event event : events) {
      boolean isFresh = at.take(event);
      hear();
      if (isFresh) {
        show.accept(event);
      }
    }
  }

  private void learn(String runId) {
    if (at.runId.isEmpty() && !runId.isEmpty()) {
      at.runId = runId;
      isKnown.countDown();
    }
  }

  /** Handles a control. Unknown controls are skipped. */
  private void heed(Control control) {
    switch (control.getControlCase()) {
      case RESYNC -> {
        at.resync(control.getResync().getFirst());
        say.accept("resync (" + control.getResync().getReason() + "): goes on with event "
            + control.getResync().getFirst().getSequence());
      }
      case DEGRADED -> say.accept("waiting: " + control.getDegraded().getMessage());
      case DRAINING -> {
        hear();
        wait = Duration.ofMillis(control.getDraining().getRetryMs()); // the stream ends by itself
        return;
      }
      case CAUGHT_UP -> {}
      default -> {
        return;
      }
    }
    hear();
  }

  /** Resets the pauses: the core has answered. */
  private void hear() {
    tries = 0;
    wait = Duration.ZERO;
  }

  /** Returns the pause before the next call, to the next core; null to give up. */
  private Duration pauseAfter(Failure failure) {
    if (tries == 0) {
      heard = Instant.now();
    }
    Duration pause = pauseBefore(tries);
    if (cores.size() == 1) { // a delay applies only to the core that asked for it
      pause = longest(pause, longest(wait, failure.retryAfter()));
    }
    if (failure.isFinal() || Instant.now().plus(pause).isAfter(heard.plus(patience))) {
      return null;
    }
    if (tries == 0 && !at.runId.isEmpty()) {
      say.accept("the stream broke off (" + failure.code + "): following the run again");
    }
    tries++;
    tried++;
    return pause;
  }

  /** Tries are counted from 0 after the last contact. The random part spreads the clients of a failed core. */
  private static Duration pauseBefore(int attempt) {
    long pause = Math.min(FIRST_PAUSE.toMillis() << Math.min(attempt, 8), LONGEST_PAUSE.toMillis());
    return Duration.ofMillis(ThreadLocalRandom.current().nextLong(pause / 2, pause + 1));
  }

  private static Duration longest(Duration one, Duration other) {
    return one.compareTo(other) > 0 ? one : other;
  }

  private AgentServiceBlockingStub stub(ManagedChannel channel) {
    return AgentServiceGrpc.newBlockingStub(channel).withCallCredentials(principal);
  }
}
