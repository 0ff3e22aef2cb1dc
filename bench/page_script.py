"""What the page's script takes to show what has come, while a long answer is written.

    python -m bench.page_script [--chars 20000] [--rate 200] [--rounds 3] [--out FILE.json]

A real core and edge, and the page in the system's Chromium, as fast as the machine is and slowed down to a
quarter by the browser itself. An answer of Markdown is asked for, and the times are taken of all that the
page does in an animation frame: reading the store, lexing, React, and what it does once the frame's layout
is done, which is to keep the end in view. A layout that the script forces counts as its own. Reported are the
median, p99 and the longest, how many frames there were, and how many tasks of the page took more than 50
ms, whatever they did; and, as a mean for each frame, what the browser says that script, style and layout
took in all.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, CDPSession

from bench.machine import machine, versions
from bench.result_file import as_text
from tests.support.browser import answer_text, open_page, running_chromium
from tests.support.processes import Processes

AGENT: Final = "answer=bench.page_answer:answer"
SLOWER: Final = (1, 4)
"""By how much the browser slows the page's processor down."""

WATCH: Final = """
  const taken = (window.taken = { frames: [], tasks: [] });
  const later = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (callback) => later((time) => {
    const began = performance.now();
    try { callback(time); } finally {
      // React draws in a microtask that the callback has queued: this one comes after it.
      queueMicrotask(() => taken.frames.push(performance.now() - began));
    }
  });
  // Called behind the layout of the same frame.
  const Observer = window.ResizeObserver;
  window.ResizeObserver = class extends Observer {
    constructor(callback) {
      super((...given) => {
        const began = performance.now();
        try { callback(...given); } finally {
          if (taken.frames.length > 0) taken.frames[taken.frames.length - 1] += performance.now() - began;
        }
      });
    }
  };
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) taken.tasks.push(entry.duration);
  }).observe({ type: "longtask" });
"""

METRICS: Final = {"script": "ScriptDuration", "style": "RecalcStyleDuration", "layout": "LayoutDuration"}
"""What the browser sums up by itself, in seconds: of these, `script` has the layouts that it forced in it."""


def take(browser: Browser, url: str, asked: Mapping[str, int], slower: int) -> dict[str, Any]:
    """Ask once, and return what the frames took, in milliseconds.

    Raises:
        AssertionError: The answer is not whole, or the page has complained.
    """
    page, complaints = open_page(browser, url, script=WATCH)
    try:
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable")
        devtools.send("Emulation.setCPUThrottlingRate", {"rate": slower})
        page.evaluate("() => { window.taken.frames.length = window.taken.tasks.length = 0; }")
        before = _metrics(devtools)
        page.get_by_test_id("question").fill(json.dumps(asked))
        page.get_by_test_id("send").click()
        timeout_ms = 4_000 * (30 + asked["chars"] / asked["rate"])
        page.wait_for_selector("[data-testid=turn-assistant][data-status=done]", timeout=timeout_ms)
        length = len(answer_text(page))
        taken = page.evaluate("() => window.taken")
        after = _metrics(devtools)
    finally:
        page.close()
    assert length == asked["chars"]
    assert complaints == []
    return {
        "slower": slower,
        "frames": len(taken["frames"]),
        "p50_ms": round(statistics.median(taken["frames"]), 2),
        "p99_ms": round(statistics.quantiles(taken["frames"], n=100, method="inclusive")[98], 2),
        "max_ms": round(max(taken["frames"]), 2),
        "tasks_over_50_ms": len(taken["tasks"]),
        "longest_task_ms": round(max(taken["tasks"], default=0)),
        **{
            f"{name}_ms_a_frame": round((after[name] - before[name]) * 1_000 / len(taken["frames"]), 2)
            for name in METRICS
        },
    }


def _metrics(devtools: CDPSession) -> dict[str, float]:
    told = {metric["name"]: metric["value"] for metric in devtools.send("Performance.getMetrics")["metrics"]}
    return {name: told[metric] for name, metric in METRICS.items()}


def main(words: Sequence[str] | None = None) -> None:
    """Run the rounds, print a line for each and keep them."""
    parser = argparse.ArgumentParser(description="What the page's script takes for a frame.")
    parser.add_argument("--chars", type=int, default=20_000)
    parser.add_argument("--rate", type=int, default=200, help="pieces of 4 characters a second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(words)
    asked = {"chars": arguments.chars, "rate": arguments.rate}
    rows = []
    with tempfile.TemporaryDirectory() as folder, running_chromium(arguments.chromium) as browser:
        processes = Processes(Path(folder))
        try:
            stack = processes.up("--agent", AGENT, agents=())
            for number in range(arguments.rounds):
                for slower in SLOWER:
                    rows.append({"round": number, **take(browser, stack.url, asked, slower)})
                    print(json.dumps(rows[-1]), flush=True)
        finally:
            processes.stop_all()
    if arguments.out:
        result = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": "python -m bench.page_script",
            "machine": machine(),
            "versions": versions(),
            "asked": asked,
            "rows": rows,
        }
        arguments.out.write_text(as_text(result))


if __name__ == "__main__":
    main()
