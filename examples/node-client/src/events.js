// From the contract's events to the JSON that browsers get of the same run. Pure.

/** The events after which a run has none. */
export const TERMINAL = new Set(["done", "error"]);

/**
 * Returns the oneof's member in an event: its JSON `type` and its fields.
 *
 * @returns {{type: string, fields: object} | null} null for a payload that this client does not know.
 */
export function payloadOf(event) {
  return event.payload ? { type: snake(event.payload), fields: event[event.payload] } : null;
}

/** Returns an event's id, `runId.epoch.sequence`: what `--after` and Last-Event-ID take. */
export function idOf(runId, event) {
  return `${runId}.${event.epoch || 1}.${event.sequence}`;
}

/** Returns the cursor that an id, or a mere sequence, names. */
export function cursorOf(text) {
  const parts = text.split(".").slice(-2);
  const [sequence, epoch = "1"] = parts.reverse();
  if (!/^\d+$/.test(sequence) || !/^\d+$/.test(epoch)) throw new RangeError(`${text} names no event`);
  return { epoch: Number(epoch), sequence };
}

/**
 * Returns an event as one line of JSON, or null when its payload is not known here.
 *
 * Arguments, results and custom data are JSON text already: they are put in as they are, so that
 * not even a number beyond 2^53 changes.
 */
export function jsonLine(runId, event) {
  const payload = payloadOf(event);
  if (payload === null) return null;
  const fields = {
    type: text(payload.type),
    id: text(idOf(runId, event)),
    timestamp: text(timestampOf(event)),
    ...FIELDS[payload.type]?.(payload.fields),
  };
  const members = Object.entries(fields).filter(([, value]) => value !== undefined);
  return `{${members.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;
}

const text = (value) => JSON.stringify(value);
const present = (value) => (value ? JSON.stringify(value) : undefined);
const raw = (json) => (json === "" ? "null" : json);
const snake = (camel) => camel.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Unix milliseconds, to a tenth. */
const timestampOf = ({ createTime }) =>
  createTime ? Number(createTime.seconds) * 1000 + Math.floor(createTime.nanos / 100_000) / 10 : 0;

const delta = ({ content, tokenCount }) => ({
  content: text(content),
  tokens: tokenCount > 1 ? text(tokenCount) : undefined,
});

const FINISH_REASONS = {
  FINISH_REASON_LENGTH: "length",
  FINISH_REASON_CANCELLED: "cancelled",
  FINISH_REASON_TOOL_LIMIT: "tool_limit",
};

const INPUT_KINDS = {
  INPUT_KIND_UNSPECIFIED: "text",
  INPUT_KIND_APPROVAL: "approval",
  INPUT_KIND_CHOICE: "choice",
  INPUT_KIND_TEXT: "text",
};

const INPUT_OUTCOMES = { INPUT_OUTCOME_ANSWERED: "answered", INPUT_OUTCOME_DECLINED: "declined" };

/** A time as browsers get it: RFC 3339, to a millisecond. */
const timeOf = ({ seconds, nanos }) =>
  new Date(Number(seconds) * 1000 + Math.floor(nanos / 1_000_000)).toISOString().replace("Z", "+00:00");

/** A count is absent when the provider gave none; counts are far below 2^53. */
const usage = (counts) => {
  if (!counts) return undefined;
  const given = {};
  if (counts._inputTokens) given.inputTokens = Number(counts.inputTokens);
  if (counts._outputTokens) given.outputTokens = Number(counts.outputTokens);
  return text(given);
};

/** JSON text of each event's fields; undefined for a field that is left out. */
const FIELDS = {
  run_started: ({ runId, sessionId, agent, model, traceparent }) => ({
    runId: text(runId),
    sessionId: present(sessionId),
    agent: text(agent),
    model: present(model),
    traceparent: present(traceparent),
  }),
  text_delta: delta,
  reasoning_delta: delta,
  progress: (progress) => ({
    percent: progress._percent ? text(progress.percent) : undefined,
    message: text(progress.message),
    step: present(progress.step),
  }),
  tool_start: ({ callId, tool, argsJson }) => ({ callId: text(callId), tool: text(tool), args: raw(argsJson) }),
  tool_result: ({ callId, tool, resultJson, isError }) => ({
    callId: text(callId),
    tool: text(tool),
    result: raw(resultJson),
    isError: text(isError),
  }),
  custom: ({ name, dataJson }) => ({ name: text(name), data: raw(dataJson) }),
  input_requested: ({ inputId, kind, prompt, schemaJson, expireTime }) => ({
    inputId: text(inputId),
    kind: text(INPUT_KINDS[kind] ?? "json"),
    prompt: text(prompt),
    schema: schemaJson === "" ? undefined : schemaJson,
    expireTime: expireTime ? text(timeOf(expireTime)) : undefined,
  }),
  input_received: ({ inputId, outcome }) => ({
    inputId: text(inputId),
    outcome: text(INPUT_OUTCOMES[outcome] ?? "expired"),
  }),
  done: (done) => ({
    finalMessage: text(done.finalMessage),
    finalMessageOmitted: present(done.finalMessageOmitted),
    finishReason: text(FINISH_REASONS[done.finishReason] ?? "stop"),
    usage: usage(done.usage),
  }),
  error: ({ code, message, retryable, details, traceId }) => ({
    code: text(code),
    message: text(message),
    retryable: text(retryable),
    details: Object.keys(details).length > 0 ? text(details) : undefined,
    traceId: present(traceId),
  }),
};
