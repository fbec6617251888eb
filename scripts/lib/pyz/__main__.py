"""Makes the archive: `python -I scripts/lib/pyz SITE ARCHIVE PYTHON…`.

SITE is a directory in which pync, click and h11 are installed (`pip install --target`). ARCHIVE is the file to be made.
Each PYTHON compiles the modules for its own version.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

PACKAGES = ("pync", "click", "h11")
HERE = Path(__file__).parent
SHEBANG = b"#!/usr/bin/env python3\n"
FIRST_DATE = 315532800  # 1980-01-01, the first that zip knows


def copy_modules(site: Path, modules: Path) -> None:
    """Copy the packages to a directory of their own."""
    for package in PACKAGES:
        foreign = [*(site / package).rglob("*.so")]
        if foreign:
            sys.exit(f"pyz: {foreign[0]} is not for every machine")
        shutil.copytree(site / package, modules / package)


def licences(site: Path) -> dict[str, bytes]:
    """The licences of the packages, with their names in the archive."""
    found = [(package, path) for package in PACKAGES for path in site.glob(f"{package}*.dist-info/licenses/*")]
    return {f"licenses/{package}/{path.name}": path.read_bytes() for package, path in found}


def entry(python: str, *arguments: str) -> tuple[str, bytes]:
    """The name and the bytes of the entry that a Python makes."""
    command = [python, "-P", "-s", "-S", str(HERE / "modules.py"), *arguments]
    environment = {"PYTHONHASHSEED": "0"}  # the order of a set of names depends on it
    made = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
    name, _, data = made.partition(b"\n")
    return f"modules/{name.decode()}", data


def archive(files: dict[str, bytes]) -> bytes:
    """The zip file. Modules are deflated already."""
    date = time.gmtime(max(int(os.environ.get("SOURCE_DATE_EPOCH", FIRST_DATE)), FIRST_DATE))[:6]
    made = io.BytesIO()
    made.write(SHEBANG)
    with zipfile.ZipFile(made, "w") as target:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(name, date)
            info.external_attr = 0o100644 << 16
            target.writestr(info, data)
    return made.getvalue()


def main() -> None:
    """Make the archive that the arguments ask for."""
    parser = argparse.ArgumentParser(prog="pyz")
    parser.add_argument("site", type=Path)
    parser.add_argument("archive", type=Path)
    parser.add_argument("pythons", nargs="*", metavar="python")
    asked = parser.parse_args()
    files = {"__main__.py": (HERE / "start.py").read_bytes(), **licences(asked.site)}
    with tempfile.TemporaryDirectory() as modules:
        copy_modules(asked.site, Path(modules))
        files.update([entry(sys.executable, "--source", modules)])
        files.update(entry(python, modules) for python in asked.pythons)
    asked.archive.write_bytes(archive(files))
    asked.archive.chmod(0o755)


if __name__ == "__main__":
    main()
