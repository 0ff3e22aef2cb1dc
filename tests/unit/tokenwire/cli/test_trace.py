from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.otlp_lines import Made, Plant, lines_of, make_stream, write_lines
from tests.support.processes import ROOT, clean_environment
from tests.support.scripted_phoenix import ScriptedPhoenix, running_phoenix
from tokenwire.cli import main

STALL = "stall: token 117, link, 812 ms, 40 behind"


@pytest.fixture(scope="module")
def made() -> Made:
    return make_stream(400, [Plant(117, "link", 812, behind=40)], browser=True)


@pytest.fixture
def file(tmp_path: Path, made: Made) -> Path:
    return write_lines(tmp_path / "spans.jsonl", made)


def run(*arguments: str | Path, **environment: str | None) -> Result:
    cleared = {"TOKENWIRE_TRACE_FILE": None, "COLUMNS": None, "PHOENIX_API_KEY": None}
    return CliRunner().invoke(main, ["trace", *map(str, arguments)], env={**cleared, **environment})


def shown(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_trace_is_shown(file: Path, made: Made) -> None:
    """All hops are named, and the stall has its line."""
    text = shown(run(made.id[:8], file))
    assert f"trace  {made.id}\nrun    {made.run_id}\n" in text
    assert STALL in text.splitlines()
    for hop in ("model", "log", "send", "link", "write", "browser"):
        assert hop in text
    assert "\x1b" not in text


def test_the_variable_names_the_file_and_what_was_rotated_from_it(file: Path, made: Made) -> None:
    """A trace that was cut in two by a rotation is whole."""
    lines = lines_of(made)
    file.with_name("spans.jsonl.1").write_text("".join(lines[:3]))
    file.write_text("".join(lines[3:]))
    text = shown(run(made.run_id, TOKENWIRE_TRACE_FILE=str(file)))
    assert "400 rows" in text
    assert "StreamRun" in text


def test_without_an_id_the_streams_are_listed(file: Path, made: Made) -> None:
    """By the variable, and where a file stands in the id's place; no more than asked for."""
    other = make_stream(10, name="older", start_ns=10**18)
    write_lines(file, made, other)
    for result in (run(TOKENWIRE_TRACE_FILE=str(file)), run(file), run(file.parent)):
        assert [line.split()[2] for line in shown(result).splitlines()[1:]] == [made.id[:12], other.id[:12]]
    assert len(shown(run(file, "--limit", "1")).splitlines()) == 2


def test_json_is_one_object(file: Path, made: Made) -> None:
    """Of a trace, and of the list."""
    content = json.loads(shown(run(made.id, file, "--json")))
    assert len(content["streams"][0]["rows"]) == 400
    (listed,) = json.loads(shown(run(file, "--json")))["streams"]
    assert (listed["trace_id"], listed["stalls"]) == (made.id, 1)


def test_html_writes_a_page_instead(file: Path, made: Made) -> None:
    """What was written goes to stderr; stdout stays empty, but for --json."""
    page = file.with_name("trace.html")
    result = run(made.id, file, "--html", page)
    assert not shown(result)
    assert str(page) in result.stderr
    assert page.read_text().startswith("<!doctype html>")
    assert json.loads(shown(run(made.id, file, "--html", page, "--json")))["trace_id"] == made.id


def test_all_shows_each_row(file: Path, made: Made) -> None:
    """And elides none."""
    few, all_rows = shown(run(made.id, file)), shown(run(made.id, file, "--all"))
    assert "…" in few
    assert "…" not in all_rows
    assert len(all_rows.splitlines()) > 400 > len(few.splitlines())


def test_a_width_is_taken_from_the_environment(file: Path, made: Made) -> None:
    """COLUMNS, where there is no terminal."""
    narrow, wide = (shown(run(made.id, file, COLUMNS=columns)) for columns in ("80", "180"))
    assert narrow.count("=") < wide.count("=")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [("hello", "not an OTLP/JSON request"), ('{"a":1}', "not an OTLP/JSON request: it has no resourceSpans")],
)
def test_a_file_of_something_else_is_one_line_and_wrong_input(
    file: Path, made: Made, line: str, complaint: str
) -> None:
    """With file and line number, on stderr."""
    number = len(lines_of(made)) + 1
    file.write_text(f"{file.read_text()}{line}\n{{}}\n")
    result = run(made.id, file)
    assert result.exit_code == 2
    assert not result.stdout
    assert result.stderr.startswith(f"tokenwire: {file}:{number}: {complaint}")
    assert result.stderr.count("\n") == 1


def test_a_line_that_was_cut_short_is_noted_and_the_trace_shown(file: Path, made: Made) -> None:
    """The process was killed while it wrote."""
    with file.open("a") as out:
        out.write('{"resourceSpans":[{"resou')
    result = run(made.id, file)
    assert STALL in shown(result)
    assert result.stderr == f"tokenwire: {file}:{len(lines_of(made)) + 1}: skipped, the line is cut short\n"


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (("abc",), 2, "No file is named"),
        (("abc", "none.jsonl"), 2, "none.jsonl: no such file or folder"),
        (("none.jsonl",), 2, "none.jsonl: no such file or folder"),
        (("--html", "x.html", "FILE"), 2, "--html needs the ID"),
        (("nosuch", "FILE"), 1, "no trace or run nosuch here"),
        (("abc", "FILE", "--phoenix", "http://127.0.0.1:1"), 2, "combined with files"),
        (("abc", "--phoenix", "http://127.0.0.1:1"), 3, "http://127.0.0.1:1: "),
        (("ID", "FILE", "--html", "FOLDER/none/x.html"), 2, "x.html: No such file or directory"),
    ],
)
def test_what_can_not_be_shown_is_told_by_message_and_status(
    file: Path, made: Made, arguments: tuple[str, ...], status: int, complaint: str
) -> None:
    """1 for what is not there, 2 for wrong input, 3 for a server that can't be asked."""
    words = {"FILE": str(file), "ID": made.id}
    result = run(*(words.get(each, each).replace("FOLDER", str(file.parent)) for each in arguments))
    assert result.exit_code == status, result.output
    assert complaint in result.stderr
    assert not result.stdout


def test_an_empty_list_is_told(file: Path) -> None:
    """A file without streams is no error of its own, but there is nothing to show."""
    file.write_text("{}\n")
    result = run(file)
    assert result.exit_code == 1
    assert "no stream here" in result.stderr


def test_a_phoenix_server_is_asked_instead(made: Made) -> None:
    """The key comes from the variable of Phoenix' own tools."""
    with running_phoenix(ScriptedPhoenix(made)) as phoenix:
        text = shown(run(made.run_id, "--phoenix", phoenix.url, PHOENIX_API_KEY="secret"))
        assert STALL in text.splitlines()
        assert phoenix.keys[0] == "Bearer secret"
        missing = run(made.id, "--phoenix", phoenix.url, "--project", "other")
    assert missing.exit_code == 3
    assert "no project 'other' there" in missing.stderr


def test_names_from_a_file_can_not_steer_the_terminal(tmp_path: Path) -> None:
    """Control characters and line ends are replaced."""
    made = make_stream(5, agent="evil\x1b[2J\nstall: token 1, link")
    text = shown(run(made.id, write_lines(tmp_path / "s.jsonl", made)))
    assert "\x1b" not in text
    assert "evil�[2J�stall" in text
    assert not any(line.startswith("stall:") for line in text.splitlines())


def test_a_reader_that_has_enough_is_no_error(file: Path, made: Made) -> None:
    """`tokenwire trace … --all | head -1`."""
    code = "import sys; from tokenwire.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "trace", made.id, str(file), "--all"]
    with subprocess.Popen(
        command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().startswith("trace")
        running.stdout.close()
        assert not running.stderr.read()
    assert running.returncode == 0


def test_files_are_read_without_what_only_servers_need() -> None:
    """The command starts fast: neither grpc nor httpx is imported for it."""
    code = (
        "import sys, tokenwire.cli.trace; "
        "print([name for name in ('grpc', 'httpx', 'litestar', 'opentelemetry.sdk') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean_environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]"
