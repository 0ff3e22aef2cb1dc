import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");

/** Return the members of each interface of options in a report of the API: `[interface, member]`. */
function optionsOf(report: string): [string, string][] {
  const interfaces = report.matchAll(
    /^export interface (\w+(?:Options|Policy|Endpoints|Request|Props)\b|Endpoints)[^{]*\{\n(.*?)^\}/gms,
  );
  return [...interfaces].flatMap(([, name = "", body = ""]) =>
    [...body.matchAll(/^ {4}readonly (\w+)/gm)].map(([, member = ""]): [string, string] => [name, member]),
  );
}

describe.each(["client", "react"])("the README of %s", (name) => {
  const readme = read(`../../${name}/README.md`);
  const reports = { client: ["index", "session", "timing"], react: ["index"] }[name] ?? [];
  const options = reports.flatMap((report) => optionsOf(read(`../../${name}/api/${report}.api.md`)));

  it("has options to tell of", () => {
    expect(options.length).toBeGreaterThan(10);
  });

  it.each(options)("names the option %s.%s", (_, member) => {
    const code = readme.match(/`[^`\n]+`|```.*?```/gs) ?? [];
    expect(code.some((words) => new RegExp(`\\b${member}\\b`).test(words))).toBe(true);
  });
});
