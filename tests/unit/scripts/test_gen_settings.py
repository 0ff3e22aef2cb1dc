"""The page of settings is current, whole, and shows no secret."""

import ast
import importlib
import pkgutil
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import AliasChoices, BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from scripts import gen_settings
from scripts.gen_settings import Setting, settings_of

ROOT = Path(gen_settings.__file__).resolve().parents[1]


class SampleSettings(BaseSettings):
    """Settings of a sample."""

    model_config = SettingsConfigDict(env_prefix="SAMPLE_")

    plain: str = "a|b"
    """What it is,
    in two lines."""
    bounded: int = Field(default=5, ge=1, le=65535)
    """A number."""
    ratio: Annotated[float, Field(gt=0)] = 30.0
    """A ratio."""
    choice: Literal["x", "y"] | None = None
    """A choice."""
    secret: SecretStr = SecretStr("never shown")
    """A secret."""
    folders: tuple[Path, ...] = (Path("a"), Path("b"))
    """Folders."""
    on: bool = True
    """A switch."""
    named: str = Field(validation_alias=AliasChoices("SAMPLE_NAME", "NAME_OF_SAMPLE", "named"))
    """Has two variables, and must be set."""


class Part(BaseModel):
    """A part of settings that is none by itself."""

    most: int = Field(default=5, ge=1)
    """The most there may be."""


class MoreSettings(SampleSettings, Part):
    """Inherits what the others have."""

    more: int = 1
    """One more."""


class BareSettings(BaseSettings):
    """Says nothing of its field."""

    bare: int = 1


class StrangeSettings(BaseSettings):
    """Has a type that there are no words for."""

    strange: complex = 1j
    """Strange."""


def test_the_page_is_current(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`make check` says the same."""
    monkeypatch.setattr(sys, "argv", ["gen_settings.py", "--check"])
    assert gen_settings.main() == 0, capsys.readouterr().err


def test_every_settings_class_of_the_project_is_found() -> None:
    """Whatever pydantic knows as settings once all modules were imported is on the page."""
    for package in gen_settings.PROCESSES:
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)

    def below(cls: type[BaseSettings]) -> set[type[BaseSettings]]:
        return {each for sub in cls.__subclasses__() for each in (sub, *below(sub))}

    ours = {cls for cls in below(BaseSettings) if cls.__module__.split(".")[0] in gen_settings.PROCESSES}
    assert set(gen_settings.find_classes(ROOT)) == ours
    assert len(ours) >= 4


def test_a_line_says_variable_type_default_and_text() -> None:
    """In words, with bounds; a secret without its default."""
    assert settings_of(SampleSettings) == [
        Setting("`SAMPLE_PLAIN`", "text", "`a|b`", "What it is, in two lines."),
        Setting("`SAMPLE_BOUNDED`", "whole number, at least 1, at most 65535", "`5`", "A number."),
        Setting("`SAMPLE_RATIO`", "number, above 0", "`30`", "A ratio."),
        Setting("`SAMPLE_CHOICE`", "`x` or `y`", "", "A choice."),
        Setting("`SAMPLE_SECRET`", "secret text", "", "A secret."),
        Setting("`SAMPLE_FOLDERS`", "list of paths", "`a b`", "Folders."),
        Setting("`SAMPLE_ON`", "true or false", "`true`", "A switch."),
        Setting(
            "`SAMPLE_NAME`, `NAME_OF_SAMPLE`", "text", "(must be set)", "Has two variables, and must be set."
        ),
    ]


def test_what_a_class_inherits_is_its_own() -> None:
    """With the texts of the class that it comes from, behind its own; a part may be a plain model."""
    lines = settings_of(MoreSettings)
    assert [lines[0].text, lines[-2].text] == ["One more.", "Has two variables, and must be set."]
    assert lines[-1] == Setting("`SAMPLE_MOST`", "whole number, at least 1", "`5`", "The most there may be.")


def test_a_field_without_a_text_is_refused() -> None:
    """Nothing is on the page that is not explained."""
    with pytest.raises(SystemExit, match=r"BareSettings\.bare has no string under it"):
        settings_of(BareSettings)


def test_a_type_without_words_is_refused() -> None:
    """Rather than shown as Python writes it."""
    with pytest.raises(SystemExit, match="no words for the type"):
        settings_of(StrangeSettings)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from pydantic_settings import BaseSettings\nclass A(BaseSettings): ...", {"A"}),
        ("import pydantic_settings\nclass A(pydantic_settings.BaseSettings): ...", {"A"}),
        ("from edge.settings import EdgeSettings\nclass A(EdgeSettings): ...", {"A"}),
        ("from pydantic_settings import BaseSettings as B\nclass A(B): ...", {"?"}),
        ("import pydantic_settings", {"?"}),
        ("class A(Exception): ...", set()),
    ],
)
def test_a_class_that_hides_is_not_passed_over(source: str, names: set[str]) -> None:
    """`?` is in no module, so the script ends with an error."""
    assert gen_settings.settings_classes(ast.parse(source)) == names


def test_a_page_without_markers_is_refused() -> None:
    """Nothing is written into the wrong place."""
    with pytest.raises(SystemExit, match="no markers for settings"):
        gen_settings.replace_between_markers("text", "settings", "table")


def test_a_cell_can_not_break_its_table() -> None:
    """A bar in a text is written as its entity."""
    assert gen_settings.table(("a",), [("x|y",)]) == "| a |\n| --- |\n| x&#124;y |\n"


def test_what_two_classes_inherit_stands_on_the_page_once() -> None:
    """In the table of the class that has it, which is that of both processes."""
    page = gen_settings.settings_tables(gen_settings.find_classes(ROOT))
    assert page.count("| `TOKENWIRE_AUTH` |") == 1
    both = page.index("### Both: which API keys and JWTs are accepted")
    assert both < page.index("| `TOKENWIRE_AUTH` |")
