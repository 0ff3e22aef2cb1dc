import { defineConfig } from "tsdown";

const SHARED = { platform: "neutral", target: "es2022" } as const;

export default defineConfig([
  { ...SHARED, entry: ["src/index.ts"], dts: { sourcemap: true }, sourcemap: true },
  // What a page loads of it, without React and the client: only to be weighed.
  ...["src/hook/use-agent-stream.ts", "src/chat/streaming-chat.tsx"].map((entry) => ({
    ...SHARED,
    entry: [entry],
    outDir: "dist-size",
    dts: false,
    minify: true,
    clean: false,
    deps: { alwaysBundle: ["marked"], neverBundle: [/^react/, /^@tokenwire\/client/] },
  })),
]);
