import type { Metadata } from "next";
import type { ReactNode } from "react";
import "@tokenwire/react/styles.css";
import "./globals.css";

export const metadata: Metadata = { title: "Agents" };

export default function RootLayout({ children }: { readonly children: ReactNode }) {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  );
}
