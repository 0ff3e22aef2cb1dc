"""What `make observe` installs, and what it says before."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.observe import install
from scripts.observe.install import InstallError


@pytest.fixture(autouse=True)
def without_prometheus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have none on the search path."""
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """Return a program that fails, and says why."""
    program = tmp_path / "failing"
    program.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    program.chmod(0o755)
    return program


def test_a_prometheus_that_cannot_be_had_is_left_out_loudly(
    tmp_path: Path, failing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest is started all the same. How much goes where is said before."""
    monkeypatch.setattr(install, "FETCH_PROMETHEUS", failing)
    programs = install.install(tmp_path / "o", without=["phoenix"], prometheus=None)
    assert (programs.prometheus, programs.phoenix_python) == (None, None)
    said = capsys.readouterr().err
    assert said.index(f"{install.PROMETHEUS_MB} MB") < said.index("LEFT OUT: Prometheus")
    assert str(tmp_path / "o") in said
    assert "no network" in said


def test_a_phoenix_that_cannot_be_installed_ends_it(
    tmp_path: Path, failing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error says how to go on without; the next start tries again."""
    (tmp_path / "uv").symlink_to(failing)
    monkeypatch.setattr(install.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(InstallError, match="--without phoenix"):
        install.install(tmp_path / "o", without=["prometheus"], prometheus=None)
    assert f"{install.PHOENIX_MB} MB" in capsys.readouterr().err
    with pytest.raises(InstallError):
        install.install(tmp_path / "o", without=["prometheus"], prometheus=None)


def test_nothing_is_said_where_all_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A named Prometheus, and no Phoenix wanted: there is nothing to install."""
    programs = install.install(tmp_path, without=["phoenix"], prometheus="/opt/prometheus")
    assert (programs.prometheus, programs.phoenix_python) == ("/opt/prometheus", None)
    assert capsys.readouterr().err == ""
