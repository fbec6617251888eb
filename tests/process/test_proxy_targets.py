"""`pync -l --proxy-server` with `--proxy-allow` and `--proxy-deny`: which targets its clients get.

Which addresses the lists cover is tested in test_targets.py, and the grammar of a rule in test_access.py.
"""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest
from clients import drain
from harness import PYNC, Running, connect, failure, listen, run, serve

if TYPE_CHECKING:
    from pathlib import Path

PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
kinds = pytest.mark.parametrize("kind", ["http", "socks5"])


def web(conn: socket.socket) -> None:
    conn.recv(4096)
    conn.sendall(PAGE)
    conn.shutdown(socket.SHUT_WR)
    drain(conn)


def proxy(kind: str, *options: str, host: str = "127.0.0.1") -> Running:
    return listen("-k", "--proxy-server", kind, *options, host, "0")


def asked(ours: Running, request: bytes) -> bytes:
    """The whole answer of the proxy, or of the target behind it."""
    with connect(ours.port) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        return drain(client)


def get(ours: Running, kind: str, host: str, port: int) -> bytes:
    """What a GET of this host's page is answered through the proxy."""
    if kind == "http":
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return asked(ours, f"GET http://{place}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    name = host.encode()
    head = b"\5\1\0" + b"\5\1\0\3" + bytes([len(name)]) + name + port.to_bytes(2, "big")
    return asked(ours, head + b"GET / HTTP/1.1\r\n\r\n")


def is_served(answer: bytes) -> bool:
    return answer.endswith(b"\r\n\r\nhello")


def is_refused(answer: bytes, kind: str) -> bool:
    return answer.startswith(b"HTTP/1.1 403 Forbidden\r\n") if kind == "http" else answer == b"\5\0\5\2\0\1" + bytes(6)


@kinds
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1"],
)
def test_a_proxy_for_other_machines_refuses_what_is_of_this_one(kind: str, host: str) -> None:
    with serve(web) as (_, port), proxy(kind, host="0.0.0.0") as ours:
        assert is_refused(get(ours, kind, host, port), kind)
        ours.expect(rf"^pync: connect to {host} port {port} \(tcp\): the target is not allowed$")


@kinds
def test_what_is_of_this_machine_can_be_allowed(kind: str) -> None:
    with serve(web) as (host, port), proxy(kind, "--proxy-allow", "127.0.0.0/8", host="0.0.0.0") as ours:
        for name in host, "localhost", "::ffff:127.0.0.1":
            assert is_served(get(ours, kind, name, port))
        assert is_refused(get(ours, kind, "192.0.2.1", port), kind)


@kinds
def test_a_proxy_on_loopback_leads_to_this_machine(kind: str) -> None:
    with serve(web) as (host, port), proxy(kind) as ours:
        assert is_served(get(ours, kind, host, port))
        assert is_served(get(ours, kind, "localhost", port))


@kinds
def test_a_denied_target_is_refused_and_the_other_addresses_of_a_name_are_not(kind: str) -> None:
    with serve(web) as (host, port), proxy(kind, "--proxy-deny", "127.0.0.2,::1") as ours:
        assert is_served(get(ours, kind, host, port))
        assert is_served(get(ours, kind, "localhost", port))
        assert is_refused(get(ours, kind, "127.0.0.2", port), kind)
        assert is_refused(get(ours, kind, "::1", port), kind)


def test_a_tunnel_to_a_denied_target_is_refused() -> None:
    with serve(web) as (host, port), proxy("http", "--proxy-deny", host) as ours:
        words = ["--proxy", f"127.0.0.1:{ours.port}", host, str(port)]
        assert run([*PYNC, *words]) == failure(f"proxy 127.0.0.1:{ours.port}: 403 Forbidden")


@kinds
def test_the_files_of_targets_are_read_again(kind: str, tmp_path: Path) -> None:
    (tmp_path / "targets").write_text("127.0.0.1  # this machine\n")
    with serve(web) as (host, port), proxy(kind, "--proxy-allowfile", str(tmp_path / "targets")) as ours:
        assert is_served(get(ours, kind, host, port))
        (tmp_path / "targets").write_text("192.0.2.1\n")
        ours.signal(signal.SIGHUP)
        ours.expect("^pync: the access lists were read again$")
        assert is_refused(get(ours, kind, host, port), kind)
        (tmp_path / "targets").write_text("1.2.3.4/99\n")
        ours.signal(signal.SIGHUP)
        ours.expect("^pync: the access lists stay as they were: .*targets:1: 1.2.3.4/99: ")
        assert is_refused(get(ours, kind, host, port), kind)


def test_a_wrong_list_of_targets_is_an_error_at_the_start() -> None:
    result = run([*PYNC, "-lk", "--proxy-server", "http", "--proxy-deny", "1.2.3.4/99", "0"])
    assert result.status == 2
    assert result.err.startswith("pync: --proxy-deny 1.2.3.4/99: an IPv4 address has only 32 bits\n")
