"""The source of pync as a graph of imports. The source is read, never imported.

An import inside a function counts where it is asked for; one under `if TYPE_CHECKING:` does not.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parent.parent.parent / "pync"

# Each takes a good part of the time that Python takes to start, or more than that. `pync/system/` stands for two.
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


def name_of(path: Path) -> str:
    """`net/dial.py` is net.dial, `net/__init__.py` is net, `__init__.py` of pync itself is the empty name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def lines(name: str) -> list[str]:
    """The lines of a module."""
    return MODULES[name].read_text().splitlines()


def parsed(name: str) -> ast.Module:
    """The syntax tree of a module."""
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


def own_imports(name: str, *, inside_functions: bool = True) -> set[str]:
    """The modules of pync that a module imports, by their names in MODULES. pync itself, a version, is not one."""
    package = ".".join(["pync", *MODULES[name].parent.relative_to(ROOT).parts])
    full = imports(parsed(name), package, inside_functions=inside_functions)
    return {module_of(other.removeprefix("pync.")) for other in full if within(other, "pync")} - {"", name}


def module_of(dotted: str) -> str:
    """The module that `dotted`, a module or a name in one, is found in."""
    while dotted not in MODULES:
        dotted = dotted.rpartition(".")[0]
    return dotted


def within(name: str, package: str) -> bool:
    """Whether `name` is the package or in it."""
    return name == package or name.startswith(f"{package}.")


def reached(roots: Iterable[str]) -> set[str]:
    """The modules that are imported when these are: their packages, and what all of those import at their top."""
    seen: set[str] = set()
    waiting = [*roots]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            package = name.rpartition(".")[0]
            waiting += own_imports(name, inside_functions=False) | ({package} if package else set())
    return seen
