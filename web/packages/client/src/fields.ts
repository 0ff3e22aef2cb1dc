import type { JsonValue } from "./events.ts";

/** A field is missing or of the wrong kind: the message can't be what its type says. */
export class MalformedField extends Error {}

/** Typed reading of one JSON object of the wire. */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(value: unknown) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new MalformedField("not a JSON object");
    }
    this.#values = value as Record<string, unknown>;
  }

  string(name: string): string {
    const value = this.#values[name];
    if (typeof value !== "string") throw new MalformedField(`${name} is no string`);
    return value;
  }

  stringOr<T>(name: string, fallback: T): string | T {
    const value = this.#values[name];
    return typeof value === "string" ? value : fallback;
  }

  numberOr<T>(name: string, fallback: T): number | T {
    const value = this.#values[name];
    return typeof value === "number" ? value : fallback;
  }

  booleanOr(name: string, fallback: boolean): boolean {
    const value = this.#values[name];
    return typeof value === "boolean" ? value : fallback;
  }

  /** Return whether the field is there and true. */
  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  /** Return the field as it came; a field that is absent reads as null, like an empty `*_json`. */
  json(name: string): JsonValue {
    return (this.#values[name] ?? null) as JsonValue;
  }

  /** Return the field's own fields, or undefined when it is no object. */
  object(name: string): Fields | undefined {
    const value = this.#values[name];
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? new Fields(value)
      : undefined;
  }

  /** Return the field's items. */
  list(name: string): readonly unknown[] {
    const value = this.#values[name];
    if (!Array.isArray(value)) throw new MalformedField(`${name} is no list`);
    return value;
  }

  /** Return the entries whose values are strings. */
  strings(): Record<string, string> {
    const entries = Object.entries(this.#values);
    return Object.fromEntries(
      entries.filter((entry): entry is [string, string] => typeof entry[1] === "string"),
    );
  }
}

/** Return `{[name]: value}`, or nothing to spread when the value is absent. */
export function present<N extends string, V>(name: N, value: V | undefined): Partial<Record<N, V>> {
  return (value === undefined ? {} : { [name]: value }) as Partial<Record<N, V>>;
}
