import type { Token, Tokens } from "marked";
import { memo, type ReactNode } from "react";
import { decodeEntities } from "./entities.ts";
import { cutPieces, lexInline } from "./inline-lexer.ts";
import { safeHref } from "./safe-link.ts";

/** Emphasis, code, links and plain text, as elements. Pieces that have not changed are not lexed again. */
export function InlineText({ text }: { readonly text: string }) {
  return cutPieces(text).map((piece, index) => <InlinePiece key={index} piece={piece} />);
}

const InlinePiece = memo(function InlinePiece({ piece }: { readonly piece: string }) {
  return <Inline tokens={lexInline(piece)} />;
});

type DrawnInline =
  | Tokens.Strong
  | Tokens.Em
  | Tokens.Del
  | Tokens.Codespan
  | Tokens.Br
  | Tokens.Link
  | Tokens.Image
  | Tokens.Escape
  | Tokens.Text;

function Inline({ tokens }: { readonly tokens: readonly Token[] }) {
  return tokens.map((token, index) => <InlineToken key={index} token={token as DrawnInline} />);
}

function InlineToken({ token }: { readonly token: DrawnInline }): ReactNode {
  switch (token.type) {
    case "strong":
      return (
        <strong>
          <Inline tokens={token.tokens} />
        </strong>
      );
    case "em":
      return (
        <em>
          <Inline tokens={token.tokens} />
        </em>
      );
    case "del":
      return (
        <del>
          <Inline tokens={token.tokens} />
        </del>
      );
    case "codespan":
      return <code>{token.text}</code>;
    case "br":
      return <br />;
    case "link":
      return (
        <SafeLink href={token.href} raw={token.raw}>
          <Inline tokens={token.tokens} />
        </SafeLink>
      );
    // The page loads nothing that a model names: an address can carry away what the model has read.
    case "image":
      return (
        <SafeLink href={token.href} raw={token.raw}>
          {token.text || token.href}
        </SafeLink>
      );
    case "escape":
      return token.text;
    case "text":
      return decodeEntities(token.text);
  }
}

interface SafeLinkProps {
  readonly href: string;
  readonly raw: string;
  readonly children: ReactNode;
}

function SafeLink({ href, raw, children }: SafeLinkProps) {
  const safe = safeHref(href);
  if (safe === undefined) return raw;
  return (
    <a href={safe} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}
