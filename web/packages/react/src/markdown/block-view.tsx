import type { Token, Tokens } from "marked";
import { createElement, memo, type ReactNode } from "react";
import { CodeView } from "./code-view.tsx";
import { InlineText } from "./inline-text.tsx";
import { TableView } from "./table-view.tsx";

interface BlockViewProps {
  readonly token: Token;
  /** Level of a heading, 1 to 6. Headings within lists and quotes have none: they are no part of the outline. */
  readonly level?: number | undefined;
}

type DrawnBlock =
  | Tokens.Paragraph
  | Tokens.Text
  | Tokens.Heading
  | Tokens.Code
  | Tokens.Table
  | Tokens.List
  | Tokens.Blockquote
  | Tokens.Hr
  | Tokens.Space
  | Tokens.Checkbox;

/** One block. It is drawn again only when its source has changed. */
export const BlockView = memo(function BlockView({ token, level }: BlockViewProps): ReactNode {
  const block = token as DrawnBlock;
  switch (block.type) {
    case "paragraph":
      return (
        <p>
          <InlineText text={block.text} />
        </p>
      );
    case "text":
      return <InlineText text={block.text} />;
    case "heading":
      return createElement(
        level === undefined ? "p" : `h${level}`,
        { className: `tw-heading tw-heading-${Math.min(block.depth, 4)}` },
        <InlineText text={block.text} />,
      );
    case "code":
      return <CodeView code={block.text} language={block.lang} />;
    case "table":
      return <TableView table={block} />;
    case "list":
      return <ListView list={block} />;
    case "blockquote":
      return (
        <blockquote>
          <Blocks tokens={block.tokens} />
        </blockquote>
      );
    case "hr":
      return <hr />;
    case "space":
    case "checkbox":
      return null;
  }
}, isSameBlock);

function isSameBlock(before: BlockViewProps, after: BlockViewProps): boolean {
  return (
    before.level === after.level &&
    before.token.type === after.token.type &&
    before.token.raw === after.token.raw &&
    textOf(before.token) === textOf(after.token)
  );
}

// What a list or a quote has taken off a line is in the raw text, and not in this one.
function textOf(token: Token): string {
  return "text" in token && typeof token.text === "string" ? token.text : "";
}

function Blocks({ tokens }: { readonly tokens: readonly Token[] }) {
  return tokens.map((token, index) => <BlockView key={index} token={token} />);
}

function ListView({ list }: { readonly list: Tokens.List }) {
  const items = list.items.map((item, index) => <ItemView key={index} item={item} />);
  if (!list.ordered) return <ul>{items}</ul>;
  return <ol start={list.start === "" ? 1 : list.start}>{items}</ol>;
}

interface ItemProps {
  readonly item: Tokens.ListItem;
}

const ItemView = memo(
  function ItemView({ item }: ItemProps) {
    return (
      <li className={item.task ? "tw-task" : undefined}>
        {item.task ? <TaskSign checked={item.checked === true} /> : null}
        <Blocks tokens={item.tokens.map(withoutCheckbox)} />
      </li>
    );
  },
  ({ item: before }, { item: after }) => before.raw === after.raw && before.loose === after.loose,
);

/** A list with blank lines has the checkbox in its item's text as well. */
function withoutCheckbox(token: Token): Token {
  const [first] = "tokens" in token ? (token.tokens ?? []) : [];
  if (token.type !== "paragraph" || first?.type !== "checkbox") return token;
  const text = (token as Tokens.Paragraph).text.slice(first.raw.length);
  return { ...token, text };
}

function TaskSign({ checked }: { readonly checked: boolean }) {
  return (
    <span className="tw-check" role="img" aria-label={checked ? "Done:" : "To do:"} data-checked={checked} />
  );
}
