"""What a text names is there: each kind of hint that leads nowhere is found, and only those."""

from pathlib import Path

import pytest

from scripts.check_hints import Facts, problems


@pytest.fixture
def known(tmp_path: Path) -> Facts:
    """A small repository: a page, a script, a folder, and what may be called."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("# The page\n\n## How, and why\n\n```sh\n# no heading\n```\n")
    (tmp_path / "scripts" / "old").mkdir(parents=True)
    (tmp_path / "scripts" / "there.sh").write_text("")
    return Facts(
        tmp_path,
        frozenset({"page", "venv"}),
        {"up": frozenset({"--port"})},
        frozenset({"TOKENWIRE_PORT", "TOKENWIRE_LOG_LEVEL"}),
    )


def found(known: Facts, text: str, name: str = "docs/new.md") -> list[str]:
    """Return what is found in a file with this text, without its place."""
    path = known.root / name
    path.write_text(text)
    return [problem.partition(": ")[2] for problem in problems(path, known)]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('NOT_BUILT = "The page is not built. Run: make web"', "no target: make web"),
        ("Call `make venv web`.", "no target: make web"),
        ("Call `tokenwire run`.", "no command: tokenwire run"),
        ("Call `.venv/bin/tokenwire up --prot 1`.", "no option: tokenwire up --prot"),
        ("Call `python -m tokenwire.helth URL`.", "no module: python -m tokenwire.helth"),
        ("Call `python -m tokenwire.health --cacert X`.", "no option: python -m tokenwire.health --cacert"),
        ("See docs/pag.md for more.", "no file: docs/pag.md"),
        ("In `scripts/new` there is", "no folder: scripts/new"),
        ('More: docs/page.md, "Why".', 'no heading in docs/page.md: "Why"'),
        ("Set TOKENWIRE_PROT.", "nothing reads TOKENWIRE_PROT"),
        ("Set TOKENWIRE_LOGS_*.", "nothing reads TOKENWIRE_LOGS_"),
    ],
)
def test_a_hint_that_leads_nowhere_is_found(known: Facts, text: str, what: str) -> None:
    """In a message, a comment or a page: what it names, and that it is not there."""
    (known.root / "tokenwire").mkdir()
    assert found(known, text, "scripts/new.py" if "=" in text else "docs/new.md") == [what]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[there](pag.md)", "no file to link to: pag.md"),
        ("[there](page.md#how)", "no heading to link to: page.md#how"),
        ("[here](#now)", "no heading to link to: #now"),
        ("```console\n$ make web\n```", "no target: make web"),
        ("```console\n$ tokenwire up --prot 1 | tail --lines 1\n```", "no option: tokenwire up --prot"),
    ],
)
def test_a_page_is_read_as_markdown(known: Facts, text: str, what: str) -> None:
    """Links and their anchors, and every line of a fenced block."""
    assert found(known, text) == [what]


@pytest.mark.parametrize(
    "text",
    [
        "It will make sure of it. Proxies make trouble: `make page`, `make venv page`.",
        "`tokenwire up --port 1`, and tokenwire is its name; `TOKENWIRE_LOG_` begins one.",
        "[there](page.md#how-and-why), [elsewhere](https://example.com/docs/x.md)",
        "scripts/there.sh, `scripts/old`; TOKENWIRE_TEST_X is a test's",
        'docs/page.md, "How, and why"; other/folder.md is nobody\'s; edge/static/index.html is built',
        "```sh\nmake page   # make it be there\n```",
        "```text\nACL SETUSER tokenwire on\n```",
    ],
)
def test_what_is_there_is_not_found(known: Facts, text: str) -> None:
    """Prose is no command, and what is elsewhere or is built is not asked for."""
    assert found(known, text) == []
