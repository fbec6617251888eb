"""HOST:PORT and URLs as the only operand: pync connects and listens as with the options and operands they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from harness import PYNC, announced, failure, listen, pync, run, success

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("options", "host", "operand"),
    [
        ((), "127.0.0.1", "127.0.0.1:{port}"),
        ((), "::1", "[::1]:{port}"),
        ((), "127.0.0.1", "localhost:{port}"),
        ((), "127.0.0.1", "tcp://127.0.0.1:{port}"),
        ((), "::1", "tcp://[::1]:{port}/"),
        (("-u",), "127.0.0.1", "udp://127.0.0.1:{port}"),
    ],
)
def test_a_client_connects_to_what_its_only_operand_says(options: tuple[str, ...], host: str, operand: str) -> None:
    with listen(*options, host, "0", "-c", "cat") as server:
        assert run([*PYNC, operand.format(port=server.port)], b"hi\n") == success(b"hi\n")


def test_a_url_asks_for_tls() -> None:
    with listen("--ssl", "-c", "cat", "127.0.0.1", "0") as server:
        operand = f"tls://127.0.0.1:{server.port}"
        assert run([*PYNC, operand, "--ssl-no-verify"], b"hi\n") == success(b"hi\n")


def test_a_url_names_a_unix_socket(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/socket"
    with announced(pync("-v", "-l", url, "-c", "cat")):
        assert run([*PYNC, url], b"hi\n") == success(b"hi\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("operand", ["127.0.0.1:0", "[::1]:0", ":0", "tcp://localhost:0"])
def test_a_listener_listens_on_what_its_only_operand_says(operand: str) -> None:
    host = "::1" if "::1" in operand else "127.0.0.1"
    with listen(operand) as server:
        assert run([*PYNC, host, str(server.port)], b"hi\n") == success()
        assert server.finish().status_and_out == (0, b"hi\n")


def test_a_scan_takes_ports_behind_a_colon() -> None:
    with listen("-k", "127.0.0.1", "0") as server:
        ports = f"{server.port}-{server.port}"
        assert run([*PYNC, "-z", f"127.0.0.1:{ports}"]) == success()


def test_a_host_with_a_colon_keeps_its_meaning_when_a_port_follows() -> None:
    assert run([*PYNC, "-n", "127.0.0.1:80", "81"]) == failure("host 127.0.0.1:80: Name or service not known")
