"""pync under the names of other netcats, beside the netcats that have these names: the same command line for both."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness import PYNC, Result, require, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

LINKS = tempfile.TemporaryDirectory(prefix="names-")


def link(name: str, folder: Path) -> list[str]:
    """The command that starts pync, or pync.pyz, by a symbolic link of this name."""
    where = folder / name
    if not where.is_symlink():
        where.symlink_to(Path(PYNC[-1]).resolve())
    return [*PYNC[:-1], str(where)]


@cache
def pync_as(name: str) -> list[str]:
    """The command that starts pync as another netcat, by a link that the PATH of `surroundings` leads to."""
    return link(name, Path(LINKS.name))


def surroundings(**more: str) -> Mapping[str, str]:
    """An environment in which the links are found first."""
    return {**os.environ, "PATH": f"{LINKS.name}:{os.environ['PATH']}", **more}


def both(name: str, words: Sequence[str], stdin: bytes = b"", **popen: Any) -> tuple[Result, Result]:
    """How the real netcat and pync under its name end, with the same command line and the same input."""
    require(name)
    real = run([name, *words], stdin, **popen)
    return real, run([*pync_as(name), *words], stdin, env=surroundings(), **popen)
