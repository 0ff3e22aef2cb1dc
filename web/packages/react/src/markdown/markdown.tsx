import { memo, useState } from "react";
import { BlockView } from "./block-view.tsx";
import { type Block, GrowingBlocks } from "./growing-blocks.ts";
import { headingLevels } from "./heading-levels.ts";

/** What {@link Markdown} draws. */
export interface MarkdownProps {
  /** GitHub's Markdown, as the model wrote it. */
  readonly text: string;
  /** The text is still growing: a caret stands at its end. */
  readonly live?: boolean;
  /** Level of the highest headings, 1 to 6; 3 by default. */
  readonly headingLevel?: number;
}

/**
 * A model's text, drawn as React elements and never as HTML.
 *
 * It takes GitHub's Markdown. HTML is shown as it was written, images become links, and links lead to `http`,
 * `https` and `mailto` addresses only. A text that grows is lexed again at its end alone.
 */
export function Markdown({ text, live = false, headingLevel = 3 }: MarkdownProps) {
  const [growing] = useState(() => new GrowingBlocks());
  const blocks = growing.read(text);
  const levels = headingLevels(blocks, headingLevel);
  return (
    <div className="tw-markdown" data-live={live || undefined}>
      {groupsOf(blocks).map((group, index) => (
        <BlockGroup key={index} blocks={group} levels={levels} />
      ))}
    </div>
  );
}

// Long answers have thousands of blocks: React would compare each of them for every token.
const GROUP_LENGTH = 50;

function groupsOf(blocks: readonly Block[]): readonly (readonly Block[])[] {
  const length = Math.ceil(blocks.length / GROUP_LENGTH);
  return Array.from({ length }, (_, index) => blocks.slice(index * GROUP_LENGTH, (index + 1) * GROUP_LENGTH));
}

interface BlockGroupProps {
  readonly blocks: readonly Block[];
  readonly levels: ReadonlyMap<number, number>;
}

const BlockGroup = memo(
  function BlockGroup({ blocks, levels }: BlockGroupProps) {
    return blocks.map(({ offset, token }) => (
      <BlockView key={offset} token={token} level={levels.get(offset)} />
    ));
  },
  (before, after) =>
    before.blocks.length === after.blocks.length &&
    after.blocks.every(({ offset, token }, index) => {
      const same = before.blocks[index];
      return token === same?.token && after.levels.get(offset) === before.levels.get(same.offset);
    }),
);
