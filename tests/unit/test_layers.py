"""The shape of the source: imports point down, modules and functions stay small, starting stays cheap."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest
from layers import COSTLY, MODULES, imports, lines, module_of, own_imports, parsed, reached, within

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROWS: list[set[str]] = [
    {
        *("config", "listener_config", "behaviour", "events", "listener_events", "errors", "system"),
        *("descriptors", "limits", "printable", "wall_time", "websocket_config"),
    },
    {"context", "loop", "protocols", "stages"},
    {"endpoints"},
    {"relay", "net", "tls"},
    {"connections", "sessions"},
    {"services"},
    {"modes"},
    {"engine", "preload"},
    {"faces"},
    {"cli", "__main__", "process_one"},
]

# What may be imported within a row: (who, what), each a module or a whole package.
SIDEWAYS = [
    ("listener_config", "config"),
    ("behaviour", "config"),
    ("websocket_config", "config"),
    ("events", "config"),
    ("listener_events", "events"),
    ("limits", "system"),
    ("system", "system"),
    ("loop", "loop"),
    ("protocols", "protocols"),
    ("endpoints", "endpoints"),
    ("relay", "relay"),
    ("net", "net"),
    ("tls", "tls"),
    ("connections", "connections"),
    ("sessions.conversation", "sessions.between"),
    ("sessions.conversation", "sessions.delivery"),
    ("sessions.program", "sessions.conversation"),
    ("sessions.http_exchange", "sessions"),
    ("services.server", "services.datagram_clients"),
    ("services.shared_stdio", "services.stdio"),
    ("services.one_by_one", "services"),
    ("services.http_answer", "services.shared_stdio"),
    ("services.proxy", "services.forward"),
    ("modes.connect", "modes.reconnecting"),
    ("modes.scan", "modes.ordered_scan"),
    ("modes.scan", "modes.port_probes"),
    ("modes.scan", "modes.waiting"),
    ("engine", "preload"),
    ("faces", "faces"),
    ("cli", "process_one"),
    ("__main__", "cli"),
]
MOST_SIDEWAYS = 31

# What must never be imported, whatever the rows say: (who, what).
NEVER = [
    ("sessions", "services"),
    ("connections", "sessions"),
    ("relay", "net"),
]

SPINE_LINES = 2660
MODULE_LINES = 300
FUNCTION_LINES = 30

every_module = pytest.mark.parametrize("name", MODULES, ids=lambda name: name or "pync")


def row(name: str) -> int:
    room = name.partition(".")[0]
    rows = [number for number, rooms in enumerate(ROWS) if room in rooms]
    assert rows, f"{name} has no row: give it one in ROWS, or another place"
    return rows[0]


def may_import(importer: str, imported: str) -> bool:
    if any(within(importer, who) and within(imported, what) for who, what in NEVER):
        return False
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


def test_imports_within_a_row_are_few() -> None:
    assert len(SIDEWAYS) <= MOST_SIDEWAYS


def test_the_spine_is_an_afternoons_reading() -> None:
    """The spine is what `pync HOST PORT` imports below the face, in every run."""
    spine = reached(["engine", "modes.connect"])
    assert sum(len(lines(name)) for name in spine) <= SPINE_LINES


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
    assert len(lines(name)) <= MODULE_LINES


@every_module
def test_a_function_is_small_or_says_why_it_is_whole(name: str) -> None:
    assert list(long_functions(lines(name))) == []


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


FACES = re.compile(r"(?<![A-Za-z])(?:[Oo]penbsd|[Tt]raditional|[Nn]cat)(?![a-z])")  # NCAT_… is for Ncat's programs
# OpenBSD is a system, too.
BELOW_THE_FACES = [name for name in MODULES if name and row(name) < row("faces") and not within(name, "system")]


def named_in_code(tree: ast.AST) -> set[str]:
    """The names and the texts in code: docstrings, and comments, are none."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            found.add(str(node.value))
        for field in "id", "attr", "arg", "name", "module":
            found.add(str(getattr(node, field, "")))
    return found


@pytest.mark.parametrize("name", BELOW_THE_FACES)
def test_below_the_faces_none_of_them_has_a_name(name: str) -> None:
    assert [text for text in named_in_code(parsed(name)) if FACES.search(text)] == []


def test_a_face_is_found_in_code_but_not_in_a_docstring() -> None:
    found = named_in_code(ast.parse('"""of ncat"""\nif openbsd_way(x.traditional, kind="ncat"): pass'))
    assert {text for text in found if FACES.search(text)} == {"openbsd_way", "traditional", "ncat"}


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
        ("relay.rules", "endpoints.streams", True),
        ("endpoints.streams", "relay.rules", False),
        ("net.dial", "net.resolve", True),
        ("net.dial", "tls", False),
        ("stages.crlf", "stages", True),
        ("stages.crlf", "stages.telnet", False),
        ("services.stdio", "sessions.conversation", True),
        ("sessions.conversation", "services.stdio", False),
        ("relay.bridge", "net.dial", False),
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
