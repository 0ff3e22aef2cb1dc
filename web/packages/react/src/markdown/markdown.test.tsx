import { cleanup, render } from "@testing-library/react";
import fc from "fast-check";
import { renderToStaticMarkup } from "react-dom/server";
import { afterEach, describe, expect, it } from "vitest";
import { GrowingBlocks } from "./growing-blocks.ts";
import { lexInline } from "./inline-lexer.ts";
import { Markdown } from "./markdown.tsx";
import { anyAnswer, HARD_KINDS } from "./samples.ts";

afterEach(cleanup);

function show(text: string) {
  return render(<Markdown text={text} />).container;
}

describe("a text that grows", () => {
  it("looks like the whole text, in whatever pieces it came", () => {
    const cuts = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 9 });
    fc.assert(
      fc.property(anyAnswer, cuts, (text, lengths) => {
        const { container, rerender, unmount } = render(<Markdown text="" />);
        for (let end = 0, turn = 0; end < text.length; turn += 1) {
          end += lengths[turn % lengths.length] ?? 1;
          rerender(<Markdown text={text.slice(0, end)} />);
        }
        rerender(<Markdown text={text} />);
        const grown = container.cloneNode(true);
        unmount();
        expect(show(text).isEqualNode(grown)).toBe(true);
        cleanup();
      }),
      { numRuns: 200, seed: 7 },
    );
  }, 60_000);

  it("keeps the elements of what is finished", () => {
    const { container, rerender } = render(<Markdown text={"# A\n\nb\n\nc\n\n- d\n"} />);
    const before = Array.from(container.querySelectorAll("h3, p, li"));
    rerender(<Markdown text={"# A\n\nb\n\nc\n\n- d\n- e\n\nf"} />);
    const after = Array.from(container.querySelectorAll("h3, p, li"));
    expect(after.slice(0, 4)).toEqual(before);
    expect(after).toHaveLength(6);
  });
});

describe("what a model wrote", () => {
  it("is never HTML", () => {
    const text =
      "<b>a</b>\n\n<div onclick=x>\n\n| <i>b</i> |\n|---|\n| <img src=x onerror=alert(1)> |\n\n- <script>e</script>\n";
    const page = show(text);
    expect(page.querySelector("b, i, img, script, [onclick]")).toBeNull();
    for (const tag of ["<b>", "<div onclick=x>", "<img src=x onerror=alert(1)>", "<script>"])
      expect(page.textContent).toContain(tag);
  });

  it("makes no element but those of this list, whatever it is", () => {
    const allowed =
      "a blockquote br button code del div em h3 h4 h5 h6 hr li ol p pre span strong table tbody td th thead tr ul";
    fc.assert(
      fc.property(anyAnswer, (text) => {
        const markup = renderToStaticMarkup(<Markdown text={text} />);
        const names = Array.from(markup.matchAll(/<([a-z0-9]+)/g), ([, name]) => name);
        for (const name of names) expect(allowed.split(" ")).toContain(name);
      }),
      { numRuns: 500, seed: 7 },
    );
  }, 60_000);

  it("links to web and mail addresses only, and never as this page's opener", () => {
    const page = show(
      "[a](https://a.example/x) [b](javascript:alert(1)) [c](/api/x) <data:text/html,x> www.b.example d@e.example",
    );
    const links = Array.from(page.querySelectorAll("a"));
    expect(links.map(({ href }) => href)).toEqual([
      "https://a.example/x",
      "http://www.b.example/",
      "mailto:d@e.example",
    ]);
    expect(new Set(links.map(({ rel }) => rel))).toEqual(new Set(["noopener noreferrer nofollow"]));
    expect(page.textContent).toContain("[b](javascript:alert(1)) [c](/api/x) <data:text/html,x>");
  });

  it("loads no images: they are links", () => {
    const page = show("![a cat](https://a.example/cat.png)");
    expect(page.querySelector("img")).toBeNull();
    expect(page.querySelector("a")?.textContent).toBe("a cat");
  });

  it("has headings that skip no level", () => {
    const levels = Array.from(
      show("## a\n\n#### b\n\n# c\n\n### d\n\n- # e\n").querySelectorAll("h3, h4, h5, h6, li *"),
    );
    expect(levels.map(({ tagName }) => tagName)).toEqual(["H3", "H4", "H3", "H4", "P"]);
  });

  it("has lists, tasks, quotes, rules, strikes and references to characters", () => {
    const page = show(
      "3. a\n4. b\n   - c\n\n- [x] done\n- [ ] open\n\n> q\n\n---\n\n~~s~~ a &amp; b &nope; *i*",
    );
    expect(page.querySelector("ol")?.start).toBe(3);
    expect(page.querySelectorAll("ol > li")).toHaveLength(2);
    expect(page.querySelector("ol ul li")?.textContent).toBe("c");
    expect(Array.from(page.querySelectorAll(".tw-check"), (sign) => sign.getAttribute("aria-label"))).toEqual(
      ["Done:", "To do:"],
    );
    expect(page.querySelector("blockquote p, hr, del, em")).toBeTruthy();
    expect(page.querySelector("hr + p")?.textContent).toBe("s a & b &nope; i");
  });

  it("has tables with numbers on the right, and line breaks in cells", () => {
    const page = show("| a | b |\n|---|---:|\n| x<br>y | 1 |\n| short |\n");
    expect(Array.from(page.querySelectorAll("th"), ({ className }) => className)).toEqual(["", "tw-right"]);
    expect(page.querySelectorAll("tbody td")).toHaveLength(3);
    expect(page.querySelector("td br")).toBeTruthy();
  });

  it("has code with its language, exactly as it was written", () => {
    const page = show("```sql\nselect  *\n\n  from **x**;\n```");
    expect(page.querySelector("pre code")?.textContent).toBe("select  *\n\n  from **x**;");
    expect(page.querySelector(".tw-code-bar")?.textContent).toContain("sql");
  });

  it("has tasks in lists with blank lines, too", () => {
    expect(show("- [x] a\n\n- [ ] b").textContent).toBe("ab");
  });
});

describe("hard text", () => {
  // A deadline, not a measure: what is quadratic takes an hour here.
  it.each(Object.entries(HARD_KINDS))(
    "of 80,000 characters freezes nothing: %s",
    (_, piece) => {
      const text = piece.repeat(Math.ceil(80_000 / piece.length)).slice(0, 80_000);
      const growing = new GrowingBlocks();
      for (let end = 0; end <= text.length; end += 800) growing.read(text.slice(0, end));
    },
    30_000,
  );

  it.each(Object.entries(HARD_KINDS))(
    "within a line freezes nothing: %s",
    (_, piece) => {
      const paragraph = `x ${piece
        .replaceAll("\n", " ")
        .repeat(Math.ceil(40_000 / piece.length))
        .slice(0, 40_000)}`;
      renderToStaticMarkup(<Markdown text={paragraph} />);
    },
    30_000,
  );

  it("that is mostly signs is shown as it is", () => {
    expect(lexInline("_a".repeat(400))).toHaveLength(1);
  });
});
