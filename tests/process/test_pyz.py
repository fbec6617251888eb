"""pync.pyz, as scripts/build makes it: one file that needs nothing beside it, not even itself once it runs.

`scripts/test` also runs a part of the other process tests on it (TESTED_ARCHIVE, see `tests/support/harness.py`).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
from pathlib import Path

import pytest
from harness import DEVNULL, UNMEASURED, Running, announced, connect, failure, run, success
from pairs import drain

from pync import __version__

MAKER = Path(__file__).parent.parent.parent / "scripts" / "lib" / "pyz"
# The interpreter without anything that is installed.
BARE = [sys.executable, "-S", "-s", "-P"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with pync, click and h11 alone, as `pip install --target` makes it."""
    directory = tmp_path_factory.mktemp("site")
    for package in ("pync", "click", "h11"):
        spec = importlib.util.find_spec(package)
        assert spec and spec.origin
        shutil.copytree(Path(spec.origin).parent, directory / package, ignore=shutil.ignore_patterns("__pycache__"))
    return directory


def make(site: Path, archive: Path, *pythons: str) -> Path:
    """Make an archive that is compiled for these Pythons."""
    made = run([sys.executable, "-I", str(MAKER), str(site), str(archive), *pythons], env=UNMEASURED, timeout=50)
    assert made == success()
    return archive


@pytest.fixture(scope="module")
def archive(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(site, tmp_path_factory.mktemp("compiled") / "pync.pyz", sys.executable)


@pytest.fixture(scope="module")
def uncompiled(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(site, tmp_path_factory.mktemp("source") / "pync.pyz")


def test_the_same_source_makes_the_same_file(site: Path, archive: Path, tmp_path: Path) -> None:
    again = make(site, tmp_path / "again.pyz", sys.executable)
    assert again.read_bytes() == archive.read_bytes()


@pytest.mark.parametrize("kind", ["archive", "uncompiled"])
def test_the_file_needs_nothing_that_is_installed(kind: str, request: pytest.FixtureRequest) -> None:
    program = [*BARE, str(request.getfixturevalue(kind))]
    assert run([*program, "--version"], env=UNMEASURED) == success(f"pync {__version__}\n".encode())
    assert run([*program, "--help"], env=UNMEASURED) == run([*pync_words(), "--help"], env=UNMEASURED)
    with announced(Running([*program, "-v", "-l", "--http", "127.0.0.1", "0"], env=UNMEASURED)) as server:
        server.send(b"page")
        server.close_stdin()
        with connect(server.port) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert drain(client).endswith(b"\r\n\r\npage")
        assert server.wait() == 0


def pync_words() -> list[str]:
    """The installed pync."""
    return [str(Path(sys.executable).with_name("pync"))]


def test_the_file_is_a_program(archive: Path) -> None:
    path = {"PATH": str(Path(sys.executable).parent)}
    assert run([str(archive), "--version"], env=path) == success(f"pync {__version__}\n".encode())


def test_a_probe_imports_from_the_entry_for_its_python_alone(archive: Path) -> None:
    shown = run([sys.executable, "-v", str(archive), "--version"], env=UNMEASURED).err
    assert "import 'pync.cli' # <__main__.Archived" in shown
    assert "import 'click'" not in shown


@pytest.mark.parametrize(
    ("options", "question", "answer"),
    [
        (["--filter", "tr a-z A-Z"], b"hello\n", b"HELLO\n"),
        (["-c", "cat"], b"hello\n", b"hello\n"),
        (["--proxy-server", "http"], b"nonsense\r\n\r\n", b"HTTP/1.1 400"),
        (["--http"], b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 200"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_server_needs_its_file_no_more(
    options: list[str], question: bytes, answer: bytes, archive: Path, tmp_path: Path
) -> None:
    carried = str(shutil.copy(archive, tmp_path))
    with announced(
        Running([sys.executable, carried, "-v", "-lk", *options, "127.0.0.1", "0"], stdin=DEVNULL)
    ) as server:
        os.unlink(carried)
        for _ in range(2):
            with connect(server.port) as client:
                client.sendall(question)
                client.shutdown(socket.SHUT_WR)
                assert drain(client).startswith(answer)


def test_a_failure_has_its_line_when_the_file_is_there_no_more(archive: Path, tmp_path: Path) -> None:
    carried = str(shutil.copy(archive, tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with Running([sys.executable, carried, "--ssl", "127.0.0.1", str(port)]) as client:
            conn = listener.accept()[0]
            os.unlink(carried)
            with conn:
                conn.sendall(b"no TLS at all\n")
                result = client.finish()
    assert result.status == 1
    assert result.err.startswith("pync: TLS handshake with ")


def test_a_python_that_is_too_old_is_refused_in_one_line() -> None:
    script = "import sys; sys.version_info = (3, 10); exec(open(sys.argv[1]).read())"
    result = run([sys.executable, "-c", script, str(MAKER / "start.py")], env=UNMEASURED)
    assert result == failure("needs Python 3.11 or later")
