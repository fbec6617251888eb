"""Messages for programs (`--log-format json`) and messages with times (`-vv`)."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest
from harness import PYNC, Running, announced, free_port, listen, pync, run

if TYPE_CHECKING:
    from pathlib import Path

JSON = ("--log-format", "json")
TIME = r"\d\d:\d\d:\d\d\.\d{3} "


def objects(err: str) -> list[dict[str, Any]]:
    """The lines of stderr, each of which is an object with a time."""
    found = [json.loads(line) for line in err.splitlines()]
    for item in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", item.pop("time"))
    return found


def test_a_conversation_in_json() -> None:
    with Running([*PYNC, *JSON, "-l", "127.0.0.1", "0"]) as server:
        port = int(server.expect(r'"event": "listening".*"port": (\d+)')[1])
        client = run([*PYNC, *JSON, "127.0.0.1", str(port)], b"hello")
        served = server.finish()
    address = {"host": "127.0.0.1", "port": port}
    ended = {"event": "ended", "status": 0, "signal": None, "error": None}
    facts = objects(client.err)
    assert facts[0] == {"event": "connected", "host": "127.0.0.1", "address": address, "transport": "tcp"}
    assert facts[-1] == ended
    assert served.out == b"hello"
    names = [item["event"] for item in objects(served.err)]
    assert names[:2] == ["listening", "accepted"] and names[-1] == "ended"


def test_a_scan_writes_each_port_and_its_outcome() -> None:
    with listen("-k", "127.0.0.1", "0") as server, free_port() as closed:
        result = run([*PYNC, *JSON, "-z", "127.0.0.1", str(closed), str(server.port)])
    failed, found, ended = objects(result.err)
    assert (failed["event"], failed["address"]["port"], failed["why"]) == (
        "connect_failed",
        closed,
        "Connection refused",
    )
    assert (found["event"], found["address"]["port"]) == ("connected", server.port)
    assert ended["status"] == result.status == 0


@pytest.mark.parametrize("words", [["--foo"], ["-l"], ["-z", "-l", "1"], ["h", "70000"]])
def test_a_usage_error_is_an_object(words: list[str]) -> None:
    result = run([*PYNC, *words, "--log-format=json"])
    (ended,) = objects(result.err)
    assert (ended["event"], ended["status"], ended["error"]["kind"]) == ("ended", 2, "usage_error")
    assert result.status_and_out == (2, b"")


def test_the_last_line_has_the_error_and_the_exit_status() -> None:
    with free_port() as port:
        result = run([*PYNC, *JSON, "127.0.0.1", str(port)])
    why = {"kind": "connect_error", "what": f"connect to 127.0.0.1 port {port} (tcp) failed"}
    assert objects(result.err)[-1] == {
        "event": "ended",
        "status": 1,
        "signal": None,
        "error": {**why, "why": "Connection refused"},
    }


def test_a_signal_is_in_the_last_line() -> None:
    with Running([*PYNC, *JSON, "-lk", "127.0.0.1", "0"]) as server:
        server.expect('"listening"')
        server.signal(signal.SIGTERM)
        result = server.finish()
    assert result.status == 128 + signal.SIGTERM
    assert objects(result.err)[-1]["signal"] == signal.SIGTERM


def test_the_name_of_a_unix_client_can_be_any_bytes(tmp_path: Path) -> None:
    ours, theirs = str(tmp_path / "ours"), os.fsencode(tmp_path) + b'/\xff\x1b\n\x7f"\\'
    with Running([*PYNC, *JSON, "-lkuU", ours]) as server, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        server.expect('"listening"')
        peer.bind(theirs)
        peer.sendto(b"hello\n", ours)
        server.expect('"accepted"')
        server.signal(signal.SIGTERM)
        err = server.finish().err
    (accepted,) = [item for item in objects(err) if item["event"] == "accepted"]
    assert accepted["peer"] == {"path": f'{tmp_path}/\\xff\x1b\n\x7f"\\'}


def test_a_note_is_an_object() -> None:
    with Running([*PYNC, *JSON, "-l", "-m", "1", "127.0.0.1", "0"]) as server:
        server.expect('"listening"')
        server.signal(signal.SIGTERM)
        note = objects(server.finish().err)[0]
    assert note["event"] == "note" and "--max-conns" in note["text"]


def test_a_server_needs_no_file_to_write_json(tmp_path: Path) -> None:
    with Running([*PYNC, *JSON, "-lk", "-e", "/bin/false", "127.0.0.1", "0"]) as server:
        port = int(server.expect(r'"event": "listening".*"port": (\d+)')[1])
        opened = {os.readlink(f"/proc/{server.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{server.pid}/fd")}
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.recv(1)
        server.expect('"accepted"', count=3)
        assert not any(name.endswith(".py") for name in opened)
        server.signal(signal.SIGTERM)
        assert objects(server.finish().err)[-1]["event"] == "ended"


def test_text_is_the_default() -> None:
    with free_port() as port:
        words = ["127.0.0.1", str(port)]
        assert run([*PYNC, "--log-format", "text", *words]) == run([*PYNC, *words])


def test_with_vv_each_message_has_the_time_in_front_of_it() -> None:
    with announced(Running([*PYNC, "-vv", "-l", "127.0.0.1", "0"]), rf"{TIME}Listening") as server:
        with pync("-vv", "127.0.0.1", str(server.port)) as client:
            client.close_stdin()
            server.close_stdin()
            assert client.wait() == 0
        assert server.wait() == 0
    lines = [*client.stderr.splitlines(), *server.stderr.splitlines()]
    assert len(lines) >= 3
    assert all(re.match(rf"{TIME}(Listening on|Connection (received|to)|pync: )", line) for line in lines), lines


def test_with_v_no_message_has_a_time() -> None:
    with free_port() as port:
        result = run([*PYNC, "-v", "127.0.0.1", str(port)])
    assert result.err == f"pync: connect to 127.0.0.1 port {port} (tcp) failed: Connection refused\n"


def test_with_vv_the_error_at_the_end_has_the_time_too(tmp_path: Path) -> None:
    result = run([*PYNC, "-vv", "-U", str(tmp_path / "none")])
    assert re.fullmatch(rf"{TIME}pync: .*No such file or directory\n", result.err)
