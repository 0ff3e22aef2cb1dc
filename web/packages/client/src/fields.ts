import type { JsonValue } from "./events.ts";

/** A field is missing or of the wrong kind: the message can't be what its type says. */
class MalformedField extends Error {}

/** Return whether an error says that something on the wire is not what it should be. */
export function isMalformed(error: unknown): error is Error {
  return error instanceof MalformedField || error instanceof SyntaxError;
}

/** Which fields an object of the wire has: strings that must be there, and what others are when they are not. */
export interface Shape {
  readonly need?: readonly string[];
  /** Null stands for any JSON. */
  readonly or?: Readonly<Record<string, JsonValue>>;
}

/** Fields that may be absent, each with a value of the kind that it is of when it is there. */
const OPTIONAL = {
  model: "",
  traceparent: "",
  step: "",
  traceId: "",
  from: 0,
  percent: 0,
  timestamp: 0,
  usage: {},
  timing: {},
};

/**
 * Return an object's fields as they came, but for those that are missing or of another kind than they must be.
 *
 * Throws what {@link isMalformed} knows when it is no object, or lacks what it must have.
 */
export function readFields({ need = [], or = {} }: Shape, json: unknown): Record<string, unknown> {
  if (kindOf(json) !== "object") throw new MalformedField("This is no JSON object.");
  const fields: Record<string, unknown> = { ...or, ...(json as object) };
  for (const name of need) {
    if (typeof fields[name] !== "string") throw new MalformedField(`The field ${name} is no string.`);
  }
  for (const [name, value] of Object.entries(or)) {
    if (value !== null && kindOf(fields[name]) !== kindOf(value)) fields[name] = value;
  }
  for (const [name, value] of Object.entries(OPTIONAL)) {
    if (kindOf(fields[name]) !== kindOf(value)) Reflect.deleteProperty(fields, name);
  }
  return fields;
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return value === null ? "null" : typeof value;
}

/** Return `{[name]: value}`, or nothing to spread when the value is absent. */
export function present<N extends string, V>(name: N, value: V | undefined): Partial<Record<N, V>> {
  return (value === undefined ? {} : { [name]: value }) as Partial<Record<N, V>>;
}
