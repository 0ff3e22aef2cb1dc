import { parseInline, type Span } from "./inline.ts";

interface InlineTextProps {
  readonly text: string;
  /** The text still grows: a caret stands at its end. */
  readonly live?: boolean;
}

export function InlineText({ text, live = false }: InlineTextProps) {
  return (
    <>
      {parseInline(text, live).map((span, index) => (
        // Spans have no name but their place
        <SpanView key={index} span={span} />
      ))}
      {live ? <i className="caret" /> : null}
    </>
  );
}

/** What belongs to the text but is not seen: the page's text content stays the answer, exactly. */
export function Syntax({ text }: { readonly text: string }) {
  return text === "" ? null : <span hidden>{text}</span>;
}

function SpanView({ span: { kind, strong, text } }: { readonly span: Span }) {
  if (kind === "syntax") return <Syntax text={text} />;
  const content = kind === "code" ? <code>{text}</code> : text;
  return strong ? <strong>{content}</strong> : content;
}
