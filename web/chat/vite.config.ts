import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defaultClientConditions, defineConfig } from "vite";

const EDGE = process.env.TOKENWIRE_EDGE ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react()],
  // The packages beside it as their sources: they need not be built first.
  resolve: { conditions: ["@tokenwire/source", ...defaultClientConditions] },
  build: {
    outDir: fileURLToPath(new URL("../../edge/static", import.meta.url)),
    emptyOutDir: true,
    // A strict CSP (default-src 'self') blocks data: URIs.
    assetsInlineLimit: 0,
  },
  server: { host: "127.0.0.1", proxy: { "/api": EDGE } },
});
