import { memo } from "react";
import { type Block, splitBlocks } from "./blocks.ts";
import { parseFence } from "./fence.ts";
import { InlineText, Syntax } from "./inline-text.tsx";
import { isOrdered, type Item, parseList } from "./list.ts";
import { TableView } from "./table-view.tsx";

interface MarkdownTextProps {
  readonly text: string;
  /** More text follows. */
  readonly live: boolean;
}

/** Text with a little Markdown, as React elements: what the text says is never HTML. */
export function MarkdownText({ text, live }: MarkdownTextProps) {
  const blocks = splitBlocks(text, live);
  return blocks.map(({ kind, text: lines }, index) => (
    // Blocks have no name but their place
    <BlockView key={index} kind={kind} text={lines} live={live && index === blocks.length - 1} />
  ));
}

type BlockProps = Block & { readonly live: boolean };

/** Drawn again only when its own text changes: while an answer grows, that is the last block's. */
const BlockView = memo(function BlockView({ kind, text, live }: BlockProps) {
  switch (kind) {
    case "paragraph":
      return <Paragraph text={text} live={live} />;
    case "heading":
      return <Heading text={text} live={live} />;
    case "list":
      return <List text={text} live={live} />;
    case "fence":
      return <Code text={text} live={live} />;
    case "table":
      return <TableView text={text} live={live} />;
    case "rule":
      return <Rule text={text} />;
    case "pending":
      return <Pending text={text} />;
  }
});

type TextProps = Omit<BlockProps, "kind">;

function Paragraph({ text, live }: TextProps) {
  const [, lead = "", body = "", tail = ""] = /^(\s*\n|)([^]*?)(\s*)$/.exec(text) ?? [];
  if (body === "" && !live) return <Syntax text={text} />;
  return (
    <p>
      <Syntax text={lead} />
      <InlineText text={body} live={live} />
      <Syntax text={tail} />
    </p>
  );
}

function Heading({ text, live }: TextProps) {
  const [, mark = "", body = "", tail = ""] = /^( *#+ *)([^]*?)(\s*)$/.exec(text) ?? [];
  // The page has a first heading, and so has its empty state
  const Tag = `h${Math.min(mark.trim().length + 2, 6)}` as "h3" | "h4" | "h5" | "h6";
  return (
    <Tag>
      <Syntax text={mark} />
      <InlineText text={body} live={live} />
      <Syntax text={tail} />
    </Tag>
  );
}

function List({ text, live }: TextProps) {
  const items = parseList(text);
  const Tag = isOrdered(items) ? "ol" : "ul";
  return (
    // The role, because lists that draw their own markers are none to VoiceOver
    <Tag role="list">
      {items.map((item, index) => (
        <ItemView key={index} item={item} live={live && index === items.length - 1} />
      ))}
    </Tag>
  );
}

function ItemView({ item, live }: { readonly item: Item; readonly live: boolean }) {
  const counted = /^\d/.test(item.marker);
  return (
    <li className={`depth-${Math.min(item.depth, 3)} ${counted ? "counted" : "dotted"}`}>
      <Syntax text={item.indent} />
      {counted ? <span className="number">{item.marker}</span> : <Syntax text={item.marker} />}
      <Syntax text={item.space} />
      <InlineText text={item.text} live={live} />
      <Syntax text={item.tail} />
    </li>
  );
}

function Code({ text, live }: TextProps) {
  const { opening, code, closing, language } = parseFence(text, live);
  return (
    // A scrolling region must be reachable by keyboard (WCAG 2.1.1)
    <pre tabIndex={0} data-language={language || undefined}>
      <Syntax text={opening} />
      <code>{code}</code>
      {live ? <i className="caret" /> : null}
      <Syntax text={closing} />
    </pre>
  );
}

function Rule({ text }: { readonly text: string }) {
  return (
    <>
      <Syntax text={text} />
      <hr />
    </>
  );
}

/** Half a mark: what it becomes will be known with the next token. */
function Pending({ text }: { readonly text: string }) {
  return (
    <p>
      <Syntax text={text} />
      <i className="caret" />
    </p>
  );
}
