import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      { test: { name: "client", root: "packages/client", environment: "node" } },
      {
        extends: "./chat/vite.config.ts",
        test: { name: "react", root: "packages/react", environment: "happy-dom" },
      },
      { extends: "./chat/vite.config.ts", test: { name: "chat", root: "chat", environment: "happy-dom" } },
    ],
  },
});
