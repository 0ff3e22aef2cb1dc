import { defineConfig } from "tsdown";

const entry = ["src/index.ts", "src/session.ts", "src/timing.ts"];

export default defineConfig([
  { entry, platform: "neutral", target: "es2022", dts: { sourcemap: true }, sourcemap: true },
  // What a page loads of it, with its dependency: only to be weighed.
  ...entry.map((file) => ({
    entry: file,
    outDir: "dist-size",
    platform: "neutral" as const,
    target: "es2022",
    dts: false,
    minify: true,
    clean: false,
    deps: { alwaysBundle: [/.*/] },
  })),
]);
