"""Fail when a text names what is not there: a make target, a command, a module, a file, a heading, a setting.

Messages, comments, documents, scripts and deployed files are read alike. Commands count where they stand as
code: between backticks, in a fenced block of a shell, or behind "Run:"; files and settings count everywhere.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import rich_click as click

ROOT: Final = Path(__file__).resolve().parent.parent

LEFT_OUT: Final = re.compile(
    r"tests/|requirements/|bench/results/|tokenwire/v1/|examples/go-client/tokenwire/|.*package-lock\.json|.*\.sum"
    r"|.*\.binpb|CHANGELOG\.md|docs/decisions/"
)
"""Generated files; tests, which name what must be refused; and what tells how it was once."""

BUILT: Final = re.compile(r"edge/static|.*node_modules|.*\.venv|tests/artifacts|bench/results")
"""What is there only once it was built or measured."""

SUFFIXES: Final = (
    "md py sh yml yaml conf json ts tsx mts js mjs cjs go proto toml txt lua css html binpb sql csv mod"
)

CODE: Final = re.compile(r"`([^`\n]+)`|\b[Rr]un:? ((?:make|python|tokenwire) [^`\"')\n]*)")
MAKE: Final = re.compile(r"(?:^|[\s$&;(])make((?: [a-z][a-z-]*)+)(?![\w/.])")
TOKENWIRE: Final = re.compile(r"(?:^|[\s/$&;(])tokenwire ([a-z][a-z-]*)([^|;&#]*)")
MODULE: Final = re.compile(r"\bpython3? -m ([a-z_][\w.]*)([^|;&#]*)")
OPTION: Final = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
LINK: Final = re.compile(r"\]\((?![a-z]+:)([^)\s#]*)(?:#([^)\s]+))?\)")
HEADING: Final = re.compile(r"([\w/.-]+\.md), \"([^\"]+)\"")
PATH: Final = re.compile(
    rf"(?<![\w/.:@*~$-])([\w-][\w.-]*(?:/[\w.*-]+)+\.(?:{'|'.join(SUFFIXES.split())}))(?![\w-])"
)
SHELLS: Final = {"sh", "bash", "console"}
"""The languages of fenced blocks that hold commands."""

FOLDER: Final = re.compile(r"\w[\w.-]*(/[\w-]+)+/?")
VARIABLE: Final = re.compile(r"\bTOKENWIRE_[A-Z0-9_]*")
ELSEWHERE: Final = re.compile(r"TOKENWIRE_(TEST_\w*|EDGE|PROTO)?")
"""Variables of the tests, of the page's build and of the Node client; the prefix that all have."""


@dataclass(frozen=True)
class Facts:
    """What there is."""

    root: Path
    targets: frozenset[str]
    """Of make."""
    commands: Mapping[str, frozenset[str]]
    """Of the command line, with their options."""
    variables: frozenset[str]


def facts() -> Facts:
    """Return what there is in this repository."""
    sys.path.insert(0, str(ROOT))
    from tokenwire.cli.commands import main as command_line  # noqa: PLC0415 # once the path is set
    from tokenwire.variables import VARIABLES  # noqa: PLC0415

    commands = {
        name: frozenset({*(option for each in command.params for option in each.opts), "--help"})
        for name, command in command_line.commands.items()
        if isinstance(command, click.Command)
    }
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = frozenset(target for line in phony for target in line.split())
    return Facts(ROOT, targets, commands, frozenset(VARIABLES))


def texts(root: Path) -> Iterator[Path]:
    """Yield the files that are read: those that are, or are about to be, in git."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=root, check=True, capture_output=True).stdout.decode().split("\0")
    for name in names:
        if name and not LEFT_OUT.match(name) and (root / name).is_file():
            yield root / name


def problems(path: Path, known: Facts) -> Iterator[str]:
    """Yield what a file names that is not there."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return
    place = path.relative_to(known.root)
    is_page = path.suffix == ".md"
    fence = None
    for number, line in enumerate(lines, start=1):
        found = [*wrong_paths(line, path, known), *wrong_variables(line, known)]
        if is_page and line.lstrip().startswith("```"):
            fence = line.strip(" `") if fence is None else None
        shell = [line.partition(" #")[0]] if fence in SHELLS else []
        for code in codes(line) if fence is None else shell:
            found += [*wrong_commands(code, known), *wrong_folder(code, known)]
        if is_page and fence is None:
            found += wrong_links(line, path)
        yield from (f"{place}:{number}: {what}" for what in dict.fromkeys(found))


def codes(line: str) -> list[str]:
    """Return what stands in a line as code."""
    return [span or hint for span, hint in CODE.findall(line)]


def wrong_commands(code: str, known: Facts) -> Iterator[str]:
    """Yield what is wrong with the commands in a piece of code."""
    for words in MAKE.findall(code):
        yield from (f"no target: make {word}" for word in words.split() if word not in known.targets)
    for name, rest in TOKENWIRE.findall(code):
        if name not in known.commands:
            yield f"no command: tokenwire {name}"
        else:
            wrong = set(OPTION.findall(rest)) - known.commands[name]
            yield from (f"no option: tokenwire {name} {option}" for option in sorted(wrong))
    for module, rest in MODULE.findall(code):
        source = source_of(module)
        if source is None:
            yield f"no module: python -m {module}"
        elif ROOT in source.parents:
            text = source.read_text()
            yield from (
                f"no option: python -m {module} {each}"
                for each in OPTION.findall(rest)
                # Some are made from their names.
                if f'"{each}"' not in text and f'"{each[2:]}"' not in text
            )


def wrong_folder(code: str, known: Facts) -> Iterator[str]:
    """Yield a piece of code that is the name of a folder, or of a file, that is not in the repository."""
    is_ours = FOLDER.fullmatch(code) is not None and (known.root / code.partition("/")[0]).is_dir()
    if is_ours and not BUILT.match(code) and not (known.root / code).exists():
        yield f"no folder: {code}"


@cache
def source_of(module: str) -> Path | None:
    """Return the file of a module that can be run; None where there is none."""
    for name in (f"{module}.__main__", module):
        try:
            found = importlib.util.find_spec(name)
        except ImportError:
            continue
        if found is not None and found.origin is not None:
            return Path(found.origin)
    return None


def wrong_paths(line: str, path: Path, known: Facts) -> Iterator[str]:
    """Yield the files that a line names and that are neither in the repository nor near the file."""
    for name in PATH.findall(line):
        is_ours = (known.root / name.partition("/")[0]).is_dir()
        near = [folder for folder in path.parents if known.root in (folder, *folder.parents)]
        near.append(known.root / "proto")
        if is_ours and not BUILT.match(name) and not any(any(folder.glob(name)) for folder in near):
            yield f"no file: {name}"
    for name, heading in HEADING.findall(line):
        if (page := known.root / name).is_file() and slug(heading) not in anchors(page):
            yield f'no heading in {name}: "{heading}"'


def wrong_links(line: str, path: Path) -> Iterator[str]:
    """Yield the links of a page's line that lead nowhere."""
    for name, anchor in LINK.findall(re.sub(r"`[^`]*`", "", line)):
        target = path.parent / name if name else path
        if not target.exists():
            yield f"no file to link to: {name}"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"no heading to link to: {name}#{anchor}"


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return frozenset(map(slug, re.findall(r"^#+ (.*)$", text, re.MULTILINE)))


def slug(heading: str) -> str:
    """Return a heading's anchor, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def wrong_variables(line: str, known: Facts) -> Iterator[str]:
    """Yield the variables that nothing reads. A name that ends in `_` stands for all that begin so."""
    for name in VARIABLE.findall(line):
        is_known = name in known.variables or (
            name.endswith("_") and any(each.startswith(name) for each in known.variables)
        )
        if not is_known and not ELSEWHERE.fullmatch(name):
            yield f"nothing reads {name}"


def main(names: Sequence[str] = ()) -> int:
    """Return 1 when something was found, having said what and where."""
    known = facts()
    paths = [known.root / name for name in names] or texts(known.root)
    found = [problem for path in paths for problem in problems(path, known)]
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
