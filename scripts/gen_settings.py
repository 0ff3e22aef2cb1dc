"""Write what is known of the settings: the tables of docs/operations.md and that of tokenwire/variables.py.

python scripts/gen_settings.py           write them
python scripts/gen_settings.py --check   fail when they are stale

Every settings class below `agent_core`, `edge` and `tokenwire` is found by reading the sources; the texts
are the strings under the fields.
"""

import argparse
import ast
import importlib
import inspect
import re
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import annotated_types
import rich_click as click
from pydantic import AliasChoices, BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "operations.md"
VARIABLES = ROOT / "tokenwire" / "variables.py"
PROCESSES = {"edge": "The edge", "agent_core": "The core", "tokenwire": "Both"}
"""The packages that may have settings, and whose they are."""

READERS = {"edge": ("EDGE",), "agent_core": ("CORE",), "tokenwire": ("CORE", "EDGE")}
"""Who reads the settings of each package."""

READ_BY_NAME = {
    "TOKENWIRE_AUTH": "CLI",
    "TOKENWIRE_CORE_TLS_CA": "CLI",
    "TOKENWIRE_CORE_TLS_CERT": "CLI",
    "TOKENWIRE_CORE_TLS_KEY": "CLI",
    "TOKENWIRE_DRAIN_S": "CLI",
    "TOKENWIRE_PRINCIPAL_KEY": "CLI",
    "TOKENWIRE_SHARED_OWNER": "CLI",
    "TOKENWIRE_TRACE_FILE": "CLI",
}
"""Settings of the processes that the command line and the health check look at as well, without an option."""

SECRET_OPTIONS = {"TOKENWIRE_API_KEY"}
"""Variables of options that hold a secret. Of settings, the type says so."""

PLAIN_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
BOUNDS = (
    (annotated_types.Ge, "ge", "at least {}"),
    (annotated_types.Gt, "gt", "above {}"),
    (annotated_types.Le, "le", "at most {}"),
    (annotated_types.Lt, "lt", "below {}"),
)


class Setting(NamedTuple):
    """One line of a table."""

    variable: str
    type: str
    default: str
    text: str


class Variable(NamedTuple):
    """One line of the table of tokenwire/variables.py."""

    readers: frozenset[str]
    is_secret: bool = False
    is_path: bool = False


class Option(NamedTuple):
    """One option of the command line."""

    command: str
    option: str
    variable: str
    text: str


def main() -> int:
    """Return 0 when the page is current, or was written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    sys.path.insert(0, str(ROOT))
    classes = find_classes(ROOT)
    tables = {"settings": settings_tables(classes), "options": options_table()}
    text = PAGE.read_text(encoding="utf-8")
    fresh = text
    for name, table in tables.items():
        fresh = replace_between_markers(fresh, name, table)
    fresh_variables = write_variables(VARIABLES.read_text(encoding="utf-8"), variables(classes))
    if not check:
        PAGE.write_text(fresh, encoding="utf-8")
        VARIABLES.write_text(fresh_variables, encoding="utf-8")
        return 0
    problems = []
    if VARIABLES.read_text(encoding="utf-8") != fresh_variables:
        problems.append("tokenwire/variables.py is not current (run: python scripts/gen_settings.py)")
    if fresh != text:
        problems.append("docs/operations.md is not current (run: python scripts/gen_settings.py)")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def find_classes(root: Path) -> list[type[BaseSettings]]:
    """Return every settings class below the packages, in the order of the packages, the outer modules first.

    Raises:
        SystemExit: A file uses pydantic-settings in a way that hides a class from this reader.
    """
    found: list[type[BaseSettings]] = []
    for package in PROCESSES:
        for path in sorted((root / package).rglob("*.py"), key=lambda path: (len(path.parts), path)):
            names = settings_classes(ast.parse(path.read_text(encoding="utf-8")))
            if not names:
                continue
            module = importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))
            own = [value for value in vars(module).values() if is_settings_class(value, module.__name__)]
            if {cls.__name__ for cls in own} != names:
                sys.exit(f"{path.relative_to(root)}: settings classes that are not at the top of the module")
            found += own
    return found


def is_settings_class(value: object, module: str) -> bool:
    """Return whether something is a settings class that this module defines."""
    return isinstance(value, type) and issubclass(value, BaseSettings) and value.__module__ == module


def settings_classes(tree: ast.Module) -> set[str]:
    """Return the names of a file's settings classes: those that have a base called …Settings.

    A file that imports from pydantic_settings and defines none gives "?", which no module has.
    """
    names = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(ast.unparse(b).endswith("Settings") for b in node.bases)
    }
    imports = any(
        (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pydantic_settings"))
        or (isinstance(node, ast.Import) and any(a.name == "pydantic_settings" for a in node.names))
        for node in ast.walk(tree)
    )
    return names or ({"?"} if imports else set())


def settings_of(cls: type[BaseSettings]) -> list[Setting]:
    """Return the lines of one class's table.

    Raises:
        SystemExit: A field has no string under it.
    """
    texts: dict[str, str] = {}
    for base in cls.__mro__:  # the class's own fields first, then those of each part that it inherits
        if issubclass(base, BaseModel) and base not in {BaseModel, BaseSettings}:
            for name, text in field_texts(inspect.getsource(base)).items():
                texts.setdefault(name, text)
    for name in cls.model_fields:
        if name not in texts:
            sys.exit(f"{cls.__module__}.{cls.__qualname__}.{name} has no string under it")
    lines = []
    for name, text in texts.items():
        field = cls.model_fields[name]
        lines.append(Setting(variable_of(cls, name, field), type_of(field), default_of(field), text))
    return lines


def field_texts(source: str) -> dict[str, str]:
    """Return the string under each field of a class, in one line."""
    definition = ast.parse(inspect.cleandoc("\n" + source)).body[0]
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 # it was found as one
    texts = {}
    for field, text in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            texts[field.target.id] = " ".join(text.value.value.split())
    return texts


def variable_of(cls: type[BaseSettings], name: str, field: FieldInfo) -> str:
    """Return the environment variable of a field; several, the first before the others."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        # The others are for arguments in Python.
        return ", ".join(f"`{name}`" for name in alias.choices if isinstance(name, str) and name.isupper())
    if isinstance(alias, str):
        return f"`{alias.upper()}`"
    return f"`{cls.model_config.get('env_prefix', '')}{name}`".upper()


def type_of(field: FieldInfo) -> str:
    """Return a field's type in words, with its bounds."""
    words = type_words(field.annotation)
    bounds = [
        text.format(getattr(bound, name))
        for bound in field.metadata
        for kind, name, text in BOUNDS
        if isinstance(bound, kind)
    ]
    return ", ".join([words, *bounds])


def type_words(annotation: Any) -> str:
    """Return a type in words.

    Raises:
        SystemExit: There are none for it yet.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(type_words(each) for each in arguments if each is not types.NoneType)
    if origin is typing.Annotated:
        return type_words(arguments[0])
    if origin in {tuple, list, set, frozenset}:
        return f"list of {type_words(arguments[0])}s"
    if annotation in {SecretStr, SecretBytes}:
        return "secret text"
    if annotation in PLAIN_TYPES:
        return PLAIN_TYPES[annotation]
    sys.exit(f"scripts/gen_settings.py has no words for the type {annotation!r}")


def default_of(field: FieldInfo) -> str:
    """Return a field's default as it would be written into the variable; empty for none. No secret's."""
    if field.is_required():
        return "(must be set)"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, SecretStr | SecretBytes) or value is None or value in ("", ()):
        return ""
    if isinstance(value, bool):
        return f"`{value}`".lower()
    if isinstance(value, float):
        return f"`{value:g}`"
    if isinstance(value, tuple | list | set | frozenset):
        return f"`{' '.join(map(str, value))}`"
    return f"`{value}`"


def settings_tables(classes: list[type[BaseSettings]]) -> str:
    """Return the tables of all classes, by process. What a class inherits stands in the other one's alone."""
    parts = []
    for package, process in PROCESSES.items():
        own = [cls for cls in classes if cls.__module__.split(".")[0] == package]
        for cls in own:
            title = process if cls.__module__ == f"{package}.settings" else f"{process}: {first_line(cls)}"
            parts.append(f"### {title}\n")
            inherited = {
                line.variable for base in cls.__mro__[1:] if base in classes for line in settings_of(base)
            }
            rows = [tuple(setting) for setting in settings_of(cls) if setting.variable not in inherited]
            parts.append(table(("variable", "type", "default", "what it is"), rows))
    return "\n".join(parts)


def first_line(cls: type[BaseSettings]) -> str:
    """Return a class's docstring's first line as part of a heading."""
    line = (cls.__doc__ or cls.__name__).strip().splitlines()[0].rstrip(".")
    return line[0].lower() + line[1:]


def options() -> list[Option]:
    """Return the command line's options."""
    from tokenwire.cli.commands import main as command_line  # noqa: PLC0415 # once the path is set

    return [
        Option(f"`tokenwire {name}`", f"`{option.opts[0]}`", str(option.envvar or ""), option.help or "")
        for name, command in command_line.commands.items()
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
    ]


def options_table() -> str:
    """Return the table of the options and the variables that they stand for."""
    rows = [each._replace(variable=each.variable and f"`{each.variable}`") for each in options()]
    return table(("command", "option", "variable", "what it is"), rows)


def variables(classes: list[type[BaseSettings]]) -> dict[str, Variable]:
    """Return all variables and what is known of each."""
    found: dict[str, Variable] = {}

    def add(name: str, readers: Sequence[str], *, is_secret: bool = False, is_path: bool = False) -> None:
        known = found.get(name, Variable(frozenset()))
        found[name] = Variable(
            known.readers | set(readers), known.is_secret or is_secret, known.is_path or is_path
        )

    for cls in classes:
        readers = READERS[cls.__module__.split(".")[0]]
        for name, field in cls.model_fields.items():
            words = type_words(field.annotation)
            for variable in re.findall(r"\w+", variable_of(cls, name, field)):
                add(variable, readers, is_secret=words == "secret text", is_path=words == "path")
    for option in options():
        if option.variable:
            add(option.variable, ("CLI",), is_secret=option.variable in SECRET_OPTIONS)
    for variable, reader in READ_BY_NAME.items():
        add(variable, (reader,))
    return dict(sorted(found.items()))


def write_variables(text: str, known: dict[str, Variable]) -> str:
    """Return the text of tokenwire/variables.py with these variables in its table."""
    lines = ["    # variables: written by scripts/gen_settings.py\n"]
    for name, variable in known.items():
        readers = " | ".join(reader for reader in ("CORE", "EDGE", "CLI") if reader in variable.readers)
        marks = [f"{mark}=True" for mark in ("is_secret", "is_path") if getattr(variable, mark)]
        lines.append(f'    "{name}": Variable({", ".join([readers, *marks])}),\n')
    head, _, rest = text.partition(lines[0])
    _, end, tail = rest.partition("    # end of variables\n")
    if not end:
        sys.exit("tokenwire/variables.py has no markers for its table")
    return "".join([head, *lines, end, tail])


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |\n" for row in lines)


def replace_between_markers(text: str, name: str, content: str) -> str:
    """Return the text with new content between its markers of that name.

    Raises:
        SystemExit: The markers are not there.
    """
    pattern = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    fresh, count = pattern.subn(lambda match: f"{match[1]}\n{content}\n{match[2]}", text)
    if count != 1:
        sys.exit(f"{PAGE.name} has no markers for {name}")
    return fresh


if __name__ == "__main__":
    raise SystemExit(main())
