import { useEffect, useState } from "react";
import { copyText } from "./copy-text.ts";

interface CopyButtonProps {
  readonly text: string;
  /** What a screen reader says: "Copy code". */
  readonly label: string;
}

const SHOWN_MS = 2_000;

/** Copies a text, and says for a moment whether that worked. */
export function CopyButton({ text, label }: CopyButtonProps) {
  const [result, setResult] = useState<"copied" | "failed">();

  useEffect(() => {
    if (result === undefined) return;
    const timer = setTimeout(() => {
      setResult(undefined);
    }, SHOWN_MS);
    return () => {
      clearTimeout(timer);
    };
  }, [result]);

  const copy = () => {
    void copyText(text).then((copied) => {
      setResult(copied ? "copied" : "failed");
    });
  };
  const word = result === undefined ? "Copy" : result === "copied" ? "Copied" : "Copy failed";
  return (
    <button type="button" className="tw-quiet" data-testid="copy" onClick={copy}>
      {/* A live region of its own: the button's name changes without being read otherwise. */}
      <span aria-live="polite">{word}</span>
      <span className="tw-hidden">{result === undefined ? label.replace(/^Copy/, "") : ""}</span>
    </button>
  );
}
