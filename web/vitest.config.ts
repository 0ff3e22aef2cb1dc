import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (name: string) => fileURLToPath(new URL(`packages/client/src/${name}.ts`, import.meta.url));

export default defineConfig({
  test: {
    projects: [
      {
        // Its recipes name it as others do: here that is its sources.
        resolve: {
          alias: { "@tokenwire/client/session": source("session"), "@tokenwire/client": source("index") },
        },
        test: { name: "client", root: "packages/client", environment: "node" },
      },
      {
        extends: "./chat/vite.config.ts",
        test: { name: "react", root: "packages/react", environment: "happy-dom" },
      },
      { extends: "./chat/vite.config.ts", test: { name: "chat", root: "chat", environment: "happy-dom" } },
    ],
  },
});
