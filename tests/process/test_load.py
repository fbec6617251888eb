"""scripts/load: a few clients in some of its shapes, and what it reports of a server that keeps too much."""

from __future__ import annotations

import contextlib
import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from harness import UNMEASURED, run

ROOT = Path(__file__).parent.parent.parent
sys.path.append(str(ROOT / "scripts" / "lib"))

from load import Load, cli  # noqa: E402 (found by the line above)
from soak import Lost  # noqa: E402
from soak.servers import Server  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

LOAD = [sys.executable, "-I", str(ROOT / "scripts" / "lib" / "load"), "--scale", "0.01"]


@pytest.mark.timeout(120)
def test_each_shape_has_a_row() -> None:
    shapes = ("file to each", "quick --to", "half of socks5")
    ended = run([*LOAD, *(f"--only={shape}" for shape in shapes)], timeout=100, env=UNMEASURED)
    assert ended.status == 0, ended
    rows = ended.out.decode().splitlines()[2:]
    assert [row[:15].rstrip() for row in rows] == list(shapes)
    assert all(row.endswith(" ms") for row in rows), rows


@pytest.mark.timeout(120)
def test_what_a_server_still_holds_and_what_went_wrong_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "QUIET", 2.0)
    server = Server("held", tmp_path, "--chat")

    @contextmanager
    def burden() -> Iterator[None]:
        stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        yield

    def next_client() -> None:
        raise Lost("the load has failed")

    with contextlib.ExitStack() as stack:
        stack.callback(server.end)
        found = cli.round_of(Load(server, burden, next_client), server.usage())
    failed, descriptors = found.wrong
    assert failed == "Lost: the load has failed"
    assert "descriptors instead of" in descriptors
