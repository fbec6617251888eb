"""The shape of the source: imports point down, modules and functions stay small, starting stays cheap.

The source is read, never imported. An import inside a function counts; one under `if TYPE_CHECKING:` does not.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parent.parent / "pync"

ROWS: list[set[str]] = [
    {"config", "events", "errors", "system"},
    {"descriptors", "loop", "tasks", "interrupts", "stages", "protocols"},
    {"endpoints"},
    {"zerocopy", "tls", "net"},
    {"flow", "relay", "bridge"},
    {"modes"},
    {"engine"},
    {"faces"},
    {"cli", "__main__"},
]

# What may be imported within a row: (who, what), each a module or a whole package.
SIDEWAYS = [
    ("events", "config"),
    ("loop", "tasks"),
    ("loop", "interrupts"),
    ("interrupts", "tasks"),
    ("endpoints", "endpoints"),
    ("protocols", "protocols"),
    ("net", "net"),
    ("tls", "tls"),
    ("relay", "flow"),
    ("bridge", "relay"),
    ("modes", "modes.run"),
    ("modes", "modes.session"),
    ("modes", "modes.program"),
    ("modes", "modes.attempts"),
    ("modes", "modes.clients"),
    ("modes.scan", "modes.probes"),
    ("modes", "modes.keep_open"),
    ("modes", "modes.reach"),
    ("modes.reach", "modes.through"),
    ("modes.connect", "modes.hand_over"),
    ("modes.proxy", "modes.forward"),
    *((f"modes.{who}", "modes.again") for who in ("connect", "forward")),
    *((f"modes.{who}", "modes.talk") for who in ("through", "proxy")),
    ("modes.http", "modes.conversations"),
    ("modes.keep_open", "modes.secured"),
    *(("modes.listen", f"modes.{what}") for what in ("conversations", "forward", "http", "hub")),
    *(("modes.listen", f"modes.{what}") for what in ("programs", "proxy", "secured")),
    ("faces", "faces.types"),
    ("faces", "faces.table"),
    ("faces", "faces.help"),
    *(("faces.own", f"faces.own_{what}") for what in ("options", "extras", "proxies")),
    *(("faces.own_extras", f"faces.own_{what}") for what in ("options", "proxies")),
    ("faces.own_proxies", "faces.own_options"),
    ("faces.own", "faces.words"),
    ("__main__", "cli"),
]

# Each takes a good part of the time that Python takes to start, or more than that. `pync/system.py` stands for two.
COSTLY = {
    "argparse",
    "asyncio",
    "contextlib",
    "dataclasses",
    "enum",
    "functools",
    "importlib.metadata",
    "inspect",
    "logging",
    "re",
    "signal",
    "socket",
    "subprocess",
    "typing",
}

MODULE_LINES = 250
FUNCTION_LINES = 30


def name_of(path: Path) -> str:
    """`net/dial.py` is net.dial, `net/__init__.py` is net, `__init__.py` of pync itself is the empty name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}
every_module = pytest.mark.parametrize("name", MODULES, ids=lambda name: name or "pync")


def parsed(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(), str(MODULES[name]))


def statements(node: ast.AST, *, inside_functions: bool) -> Iterator[ast.AST]:
    """Every node below `node` that can run."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for branch in child.orelse:
                yield from statements(ast.Module([branch], []), inside_functions=inside_functions)
        elif inside_functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from statements(child, inside_functions=inside_functions)


def imports(tree: ast.Module, package: str = "pync", *, inside_functions: bool = True) -> set[str]:
    """The dotted names that are imported; a.b for `from a import b`. `package` is the one relative names start at."""
    names = set()
    for node in statements(tree, inside_functions=inside_functions):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            source = [*above, *([node.module] if node.module else [])]
            names |= {".".join([*source, alias.name]) for alias in node.names}
    return names


def own_imports(name: str) -> set[str]:
    """The modules of pync that a module imports, by their names in MODULES. pync itself, a version, is not one."""
    package = ".".join(["pync", *MODULES[name].parent.relative_to(ROOT).parts])
    full = imports(parsed(name), package)
    return {module_of(other.removeprefix("pync.")) for other in full if within(other, "pync")} - {"", name}


def module_of(dotted: str) -> str:
    """The module that `dotted`, a module or a name in one, is found in."""
    while dotted not in MODULES:
        dotted = dotted.rpartition(".")[0]
    return dotted


def row(name: str) -> int:
    room = name.partition(".")[0]
    rows = [number for number, rooms in enumerate(ROWS) if room in rooms]
    assert rows, f"{name} has no row: give it one in ROWS, or another place"
    return rows[0]


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def may_import(importer: str, imported: str) -> bool:
    if row(importer) != row(imported):
        return row(importer) > row(imported)
    if "." in importer and imported == importer.partition(".")[0]:
        return True  # a module may see what its own package declares
    return any(within(importer, who) and within(imported, what) for who, what in SIDEWAYS)


@every_module
def test_imports_point_down(name: str) -> None:
    if name == "":
        assert own_imports(name) == set()
        return
    wrong = sorted(other for other in own_imports(name) if not may_import(name, other))
    assert not wrong, f"{name} (row {row(name)}) must not import {', '.join(wrong)}"


def test_no_circle() -> None:
    graph = {name: own_imports(name) for name in MODULES}
    while leaves := [name for name, others in graph.items() if not others & graph.keys()]:
        for name in leaves:
            del graph[name]
    assert not graph, "these modules import each other in a circle, or a module that does"


@every_module
def test_a_module_opens_with_what_it_is(name: str) -> None:
    assert ast.get_docstring(parsed(name)), "no docstring"


@every_module
def test_a_module_is_read_in_one_sitting(name: str) -> None:
    size = len(MODULES[name].read_text().splitlines())
    assert size <= MODULE_LINES


@every_module
def test_a_function_is_small_or_says_why_it_is_whole(name: str) -> None:
    lines = MODULES[name].read_text().splitlines()
    assert list(long_functions(lines)) == []


def long_functions(lines: list[str]) -> Iterator[str]:
    for node in ast.walk(ast.parse("\n".join(lines))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        end = node.end_lineno or node.lineno
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        if end - node.lineno >= FUNCTION_LINES and not says_why(lines[above(lines, first) : end]):
            yield f"{node.name}: {end - node.lineno + 1} lines"


def above(lines: list[str], first: int) -> int:
    """The index of the first comment line right above line number `first`."""
    index = first - 1
    while index and lines[index - 1].lstrip().startswith("#"):
        index -= 1
    return index


def says_why(lines: Iterable[str]) -> bool:
    return any(line.partition("# whole:")[2].strip() for line in lines)


@every_module
def test_nothing_costly_is_imported_at_the_start(name: str) -> None:
    names = imports(parsed(name), inside_functions=False)
    costly = sorted(name for name in names if any(within(name, module) for module in COSTLY))
    assert not costly, f"imports {', '.join(costly)}: put it into the function that needs it"


# -- The checks themselves


SAMPLE = """
import os, typing.re
from .. import errors
from . import dial
from pync.net.bind import bind
if TYPE_CHECKING:
    import re
else:
    import this
def f():
    import late
class C:
    from importlib import metadata
"""


def test_every_import_that_can_run_is_seen() -> None:
    at_start = {"os", "typing.re", "pync.errors", "pync.net.dial", "pync.net.bind.bind", "this", "importlib.metadata"}
    assert imports(ast.parse(SAMPLE), "pync.net", inside_functions=False) == at_start
    assert imports(ast.parse(SAMPLE), "pync.net") == at_start | {"late"}


def test_a_name_is_found_in_its_module() -> None:
    assert module_of("events.Address") == "events"
    assert module_of("net") == "net"
    assert module_of("__version__") == ""


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("relay", "endpoints.sockets", True),
        ("endpoints.sockets", "relay", False),
        ("net.dial", "net.resolve", True),
        ("net.dial", "tls", False),
        ("stages.crlf", "stages", True),
        ("stages.crlf", "stages.telnet", False),
        ("modes.listen", "modes.session", True),
        ("modes.listen", "modes.connect", False),
        ("faces.own", "faces.table", True),
        ("faces.ncat", "faces.own", False),
    ],
)
def test_rooms_of_a_row_do_not_see_each_other(importer: str, imported: str, allowed: bool) -> None:
    assert may_import(importer, imported) is allowed


def test_a_long_function_is_found_unless_it_says_why() -> None:
    body = ["    pass"] * FUNCTION_LINES
    assert list(long_functions(["@decorated", "def f():", *body])) == ["f: 31 lines"]
    assert list(long_functions(["def f():", *body[1:]])) == []
    assert list(long_functions(["# whole: a table", "@decorated", "def f():", *body])) == []
    assert list(long_functions(["def f():", "    # whole: a table", *body])) == []
    assert list(long_functions(["def f():", "    # whole:", *body])) == ["f: 32 lines"]
