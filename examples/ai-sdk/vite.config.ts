import { defineConfig } from "vite";

// The page asks its own origin; this server passes it on. What the browser calls the server stays in `Host`.
const proxy = { "/api": process.env["TOKENWIRE_URL"] ?? "http://127.0.0.1:8000" };

export default defineConfig({
  build: { rolldownOptions: { checks: { moduleLevelDirective: false } } },
  server: { host: "127.0.0.1", port: 3000, proxy },
  preview: { host: "127.0.0.1", port: 3000, proxy },
});
