import type { NextConfig } from "next";

const config: NextConfig = {
  // This folder alone: Next would look for lock files further up.
  turbopack: { root: import.meta.dirname },
  poweredByHeader: false,
  // Pages and scripts are compressed, streams are not: the edge's `Cache-Control: no-transform` is passed on.
  compress: true,
};

export default config;
