"""Writes an entry of the archive to stdout: `modules.py [--source] DIR` for the modules in a directory.

The entry is for the Python that runs this, and the line in front of it is its name, for which `start.py` looks. With
--source it is the one for every Python. A program of its own, because each Python has to compile for itself.
"""

from __future__ import annotations

import marshal
import sys
import zlib
from importlib.util import MAGIC_NUMBER
from pathlib import Path


def entry(root: Path, *, source: bool) -> dict[str, tuple[bool, bytes]]:
    """For each module whether it is a package, and its code or source, marshalled and deflated."""
    modules = {}
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        package = path.name == "__init__.py"
        name = ".".join(inside.parent.parts if package else inside.with_suffix("").parts)
        text = path.read_bytes()
        content = text if source else compile(text, f"pync.pyz/{inside}", "exec", dont_inherit=True)
        modules[name] = (package, zlib.compress(marshal.dumps(content), 9))
    return modules


if __name__ == "__main__":
    *options, directory = sys.argv[1:]
    name = "source" if options else MAGIC_NUMBER.hex()
    sys.stdout.buffer.write(name.encode() + b"\n" + marshal.dumps(entry(Path(directory), source=bool(options))))
