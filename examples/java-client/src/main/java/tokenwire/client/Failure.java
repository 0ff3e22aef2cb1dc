package tokenwire.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;

/** A failed call: its code, the details from the core, and whether to try again. */
final class Failure {
  /** Failures of the transport: a broken connection, a proxy without a backend. */
  private static final Set<Status.Code> MAY_PASS =
      Set.of(Status.Code.UNAVAILABLE, Status.Code.INTERNAL, Status.Code.UNKNOWN, Status.Code.CANCELLED);

  final Status.Code code;
  private final String message;
  private final List<Message> details;

  Failure(Exception error) {
    boolean isCall = error instanceof StatusRuntimeException;
    com.google.rpc.Status status = isCall ? StatusProto.fromThrowable(error) : null;
    code = isCall ? Status.fromThrowable(error).getCode() : Status.Code.UNAVAILABLE;
    details = status == null ? List.of() : known(status.getDetailsList());
    StringBuilder text = new StringBuilder(status == null ? error.getMessage() : status.getMessage());
    for (Throwable cause = error.getCause(); cause != null; cause = cause.getCause()) {
      text.append(": ").append(cause.getMessage()); // what a connection failed of lies behind "io exception"
    }
    message = text.toString();
  }

  /** Tells whether the core itself refused the call for good: with details, and without RetryInfo. */
  boolean isRefusal() {
    return !details.isEmpty() && retryAfter().isZero();
  }

  /** Tells whether the call would fail again. */
  boolean isFinal() {
    return details.isEmpty() ? !MAY_PASS.contains(code) : isRefusal();
  }

  /** Returns the delay that the core asks for; zero for none. */
  Duration retryAfter() {
    for (Message detail : details) {
      if (detail instanceof RetryInfo info) {
        return Duration.ofSeconds(info.getRetryDelay().getSeconds(), info.getRetryDelay().getNanos());
      }
    }
    return Duration.ZERO;
  }

  /** Returns the error as readable lines. */
  @Override
  public String toString() {
    StringBuilder head = new StringBuilder(code + ": " + message);
    List<String> facts = new ArrayList<>();
    for (Message detail : details) {
      if (detail instanceof ErrorInfo info) {
        head.append(" [").append(info.getReason()).append("]");
        new TreeMap<>(info.getMetadataMap()).forEach((name, value) -> facts.add("  " + name + ": " + value));
      } else if (detail instanceof BadRequest request) {
        request.getFieldViolationsList().forEach(
            wrong -> facts.add("  " + wrong.getField() + ": " + wrong.getDescription()));
      } else {
        facts.add("  retry after " + retryAfter().toMillis() + " ms");
      }
    }
    facts.add(0, head.toString());
    return String.join("\n", facts);
  }

  private static List<Message> known(List<Any> details) {
    List<Message> known = new ArrayList<>();
    for (Any detail : details) {
      try {
        if (detail.is(ErrorInfo.class)) {
          known.add(detail.unpack(ErrorInfo.class));
        } else if (detail.is(BadRequest.class)) {
          known.add(detail.unpack(BadRequest.class));
        } else if (detail.is(RetryInfo.class)) {
          known.add(detail.unpack(RetryInfo.class));
        }
      } catch (InvalidProtocolBufferException error) {
        throw new IllegalStateException("the core sent a detail that is no " + detail.getTypeUrl(), error);
      }
    }
    return known;
  }
}
