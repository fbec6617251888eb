"""`--mode` and `--owner`: a unix path has its permissions and its owner from the first moment."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

import pytest
from harness import DEVNULL, PYNC, Running, announced, pync, require, run
from network import ROOT

from pync.faces.rare_values import mode

if TYPE_CHECKING:
    from pathlib import Path

KINDS = pytest.mark.parametrize("kind", ["-lkU", "-lkuU"], ids=["stream", "datagrams"])
NOBODY, GROUP = 65534, 12345
as_root = pytest.mark.skipif(not ROOT, reason="needs root")


@KINDS
@pytest.mark.parametrize("asked", ["600", "0666", "000"])
def test_the_path_has_the_mode_whatever_the_umask(kind: str, asked: str, tmp_path: Path) -> None:
    path = tmp_path / "unix"
    with announced(pync("-v", kind, "--mode", asked, str(path), umask=0o027), "(?:Listening|Bound)"):
        assert stat.S_IMODE(path.stat().st_mode) == int(asked, 8)


@as_root
@KINDS
def test_the_path_belongs_to_the_owner(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "unix"
    options = ["--owner", f"{NOBODY}:{GROUP}", "--mode", "660"]
    with announced(pync("-v", kind, *options, str(path)), "(?:Listening|Bound)"):
        status = path.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (NOBODY, GROUP, 0o660)


@as_root
def test_without_a_group_the_group_is_our_own(tmp_path: Path) -> None:
    path = tmp_path / "unix"
    with announced(pync("-v", "-lU", "--owner", "nobody", "--user", "1:1", str(path))):
        assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, os.getgid())


def test_the_path_is_made_with_its_mode_and_never_changed(tmp_path: Path) -> None:
    require("strace")
    log, path = tmp_path / "log", tmp_path / "unix"
    calls = "trace=bind,chmod,fchmodat,chown,lchown,fchownat,listen"
    traced = ["strace", "-o", str(log), "-e", calls, *PYNC, "-v", "-lU", "--mode", "600", str(path)]
    with announced(Running(traced, stdin=DEVNULL)):
        pass
    made = log.read_text().partition(f'sun_path="{path}"')[2]
    assert re.findall(r"^(\w+)\(", made, re.MULTILINE) == ["listen"]


@as_root
def test_a_directory_that_gives_its_own_group_is_an_error(tmp_path: Path) -> None:
    os.chown(tmp_path, -1, GROUP)
    tmp_path.chmod(0o2777)
    path = tmp_path / "unix"
    result = run([*PYNC, "-lU", "--owner", f"{NOBODY}:{NOBODY}", str(path)])
    why = f"pync: give {path} to {NOBODY}:{NOBODY}: it belongs to {NOBODY}:{GROUP} in this directory\n"
    assert (result.status, result.err) == (1, why)
    assert not path.exists()


def test_a_directory_with_an_acl_is_an_error(tmp_path: Path) -> None:
    require("setfacl")
    run(["setfacl", "-d", "-m", "u::rwx,g::r,o::-", str(tmp_path)])
    path = tmp_path / "unix"
    result = run([*PYNC, "-lU", "--mode", "660", str(path)])
    assert (result.status, result.err) == (1, f"pync: give {path} mode 660: its directory makes that 640\n")
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-lU", "@name"], "--mode with @name: an abstract name has no permissions"),
        (["-l", "0"], "--mode without a unix path"),
        (["-U", "/x"], "--mode without -l"),
        (["-l", "--also", "@name", "0"], "--mode with @name"),
    ],
)
def test_permissions_are_for_paths_alone(options: list[str], message: str) -> None:
    result = run([*PYNC, "--mode", "660", *options])
    assert result.status == 2
    assert result.err.startswith(f"pync: {message}")


@pytest.mark.parametrize("text", ["", "8", "1000", "00660", "-1", "0o7", "rw"])
def test_what_is_no_mode_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"not a mode such as 660: {text}")):
        mode(text)
