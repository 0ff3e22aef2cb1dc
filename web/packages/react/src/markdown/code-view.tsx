import { CopyButton } from "../copy-button.tsx";

interface CodeViewProps {
  readonly code: string;
  readonly language: string | undefined;
}

/** A block of code, with its language and a button that copies it. */
export function CodeView({ code, language }: CodeViewProps) {
  const name = language?.split(/\s/, 1)[0];
  return (
    <div className="tw-code">
      <div className="tw-code-bar">
        <span>{name === undefined || name === "" ? "Code" : name}</span>
        <CopyButton text={code} label="Copy code" />
      </div>
      {/* A scrolling region must be reachable by keyboard (WCAG 2.1.1) */}
      <pre tabIndex={0}>
        <code>{code}</code>
      </pre>
    </div>
  );
}
