"""What `uv build` and `pip wheel .` make of a checkout: all of it, the page too, or nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.processes import ROOT, clean_environment

PACKAGES = ("agent_core", "edge", "tokenwire")
PAGE = "<!doctype html>"
NOT_BUILT = "The page is not built: edge/static/index.html is missing. Run: make page"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a fresh clone has of that which is packed: no page."""
    copy = tmp_path / "checkout"
    for name in (*PACKAGES, "proto"):
        left_out = shutil.ignore_patterns("static", "__pycache__", ".*")
        shutil.copytree(ROOT / name, copy / name, ignore=left_out)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


def add_page(checkout: Path) -> None:
    """Do as `make page` does."""
    static = checkout / "edge" / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text(PAGE)
    (static / "assets" / "index-1.js").write_text("0")


def build(checkout: Path, what: str) -> subprocess.CompletedProcess[str]:
    """Call the build backend as pip does, without a network; what it makes is put into `made`."""
    code = f"from hatchling.build import build_{what}; print(build_{what}('made'))"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkout,
        env=clean_environment(),
        check=False,
        capture_output=True,
        text=True,
    )


def made(checkout: Path, what: str) -> Path:
    """Build it; return its file."""
    done = build(checkout, what)
    assert done.returncode == 0, done.stderr
    return checkout / "made" / done.stdout.split()[-1]


def files_of(checkout: Path) -> set[str]:
    """Return all files of the three packages."""
    found = (path for name in PACKAGES for path in (checkout / name).rglob("*"))
    return {str(path.relative_to(checkout)) for path in found if path.is_file()}


def test_the_example_agents_wheel_has_all_its_files_and_offers_them(tmp_path: Path) -> None:
    """The sample data is in it, its tests are not."""
    copy = tmp_path / "portfolio"
    left_out = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(ROOT / "examples" / "portfolio", copy, ignore=left_out)
    with zipfile.ZipFile(made(copy, "wheel")) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
        offered = wheel.read("tokenwire_portfolio-0.1.0.dist-info/entry_points.txt").decode()
    source = copy / "tokenwire_portfolio"
    assert packed == {str(path.relative_to(copy)) for path in source.rglob("*") if path.is_file()}
    assert "tokenwire_portfolio/data/prices.csv" in packed
    assert "[tokenwire.agents]\nportfolio = tokenwire_portfolio:portfolio\n" in offered


@pytest.mark.parametrize("what", ["wheel", "sdist"])
def test_without_the_page_nothing_is_built(checkout: Path, what: str) -> None:
    """The build fails with one line that says what is missing and how to get it."""
    done = build(checkout, what)
    assert done.returncode == 1
    assert (done.stdout + done.stderr).strip() == NOT_BUILT
    assert not list(checkout.glob("made/*"))


def test_an_editable_installation_needs_no_page(checkout: Path) -> None:
    """`make venv` comes before `make page`: the page is then taken from the checkout."""
    assert made(checkout, "editable").suffix == ".whl"


def test_a_wheel_has_every_file_of_the_packages_and_the_page(checkout: Path) -> None:
    """Data files, scripts of the store, types and the page: all that is in the folders, and nothing else."""
    add_page(checkout)
    with zipfile.ZipFile(made(checkout, "wheel")) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert wheel.read("edge/static/index.html").decode() == PAGE
    assert packed == files_of(checkout)
    assert {f"{name}/py.typed" for name in PACKAGES} < packed


def test_a_wheel_can_be_made_from_the_sdist(checkout: Path) -> None:
    """`uv build` does so: the sdist has the page, what builds, and the contract."""
    add_page(checkout)
    with tarfile.open(made(checkout, "sdist")) as sdist:
        sdist.extractall(checkout / "unpacked", filter="data")
    (unpacked,) = (checkout / "unpacked").iterdir()
    assert files_of(unpacked) == files_of(checkout)
    assert list(unpacked.glob("proto/tokenwire/v1/*.proto"))
    with zipfile.ZipFile(made(unpacked, "wheel")) as wheel:
        assert files_of(checkout) < set(wheel.namelist())
