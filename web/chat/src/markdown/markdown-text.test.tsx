import { cleanup, render } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { MarkdownText } from "./markdown-text.tsx";
import { ANSWERS } from "./samples.ts";

afterEach(cleanup);

function show(text: string, live = false) {
  return render(<MarkdownText text={text} live={live} />).container;
}

it.each(ANSWERS)("the page's text content is the answer, exactly, wherever it is cut: %#", (answer) => {
  const complaints = vi.spyOn(console, "error");
  const { container, rerender } = render(<MarkdownText text="" live />);
  for (let end = 0; end <= answer.length; end += 1) {
    rerender(<MarkdownText text={answer.slice(0, end)} live />);
    expect(container.textContent).toBe(answer.slice(0, end));
  }
  rerender(<MarkdownText text={answer} live={false} />);
  expect(container.textContent).toBe(answer);
  expect(complaints).not.toHaveBeenCalled();
});

describe("the answer", () => {
  it("is never HTML, and links nowhere", () => {
    const page = show("<b>a</b>\n\n| <i>b</i> |\n|---|\n| [c](javascript:d) |\n\n- <script>e</script>\n");
    expect(page.querySelector("b, i, a, script")).toBeNull();
  });

  it("has tables with numbers on the right", () => {
    const page = show("| a | b |\n|---|---:|\n| x | 1 |\n");
    expect(Array.from(page.querySelectorAll("th"), ({ className }) => className)).toEqual(["", "right"]);
    expect(page.querySelectorAll("tbody td")).toHaveLength(2);
  });

  it("has headings below the page's own", () => {
    expect(show("# a\n## b\n###### c").querySelectorAll("h3, h4, h6")).toHaveLength(3);
  });

  it("has lists, code, bold and rules", () => {
    const page = show("1. **a**\n   - `b`\n\n```sql\nselect\n```\n\n---\n");
    expect(page.querySelectorAll("ol > li")).toHaveLength(2);
    expect(page.querySelector("li strong")?.textContent).toBe("a");
    expect(page.querySelector("pre code")?.textContent).toBe("select");
    expect(page.querySelector("hr")).toBeTruthy();
  });
});

it("one caret stands at the end while the text grows, and none after", () => {
  for (const text of ["a", "# a", "- a", "```\na", "| a |", "| a |\n|---|\n| b |", "a\n-", "\n"]) {
    expect(show(text, true).querySelectorAll(".caret"), text).toHaveLength(1);
    cleanup();
    expect(show(text).querySelectorAll(".caret"), text).toHaveLength(0);
    cleanup();
  }
});
