"""The harness itself, against programs whose behaviour is known."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import harness
import pytest
from harness import DEVNULL, PAYLOAD, Result, Running, announced, connect, free_port, require, run, serve
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

MEGABYTES = 4 << 20  # more than a pipe, two pipes and a socket hold


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


def test_run_gives_status_output_and_errors() -> None:
    assert run(sh("cat; echo oops >&2; exit 3"), b"data") == Result(status=3, out=b"data", err="oops\n")


def test_run_reports_a_signal_in_the_shells_way() -> None:
    assert run(sh("kill -TERM $$")).status == 128 + signal.SIGTERM


def test_run_moves_more_than_the_pipes_hold_both_ways() -> None:
    payload = PAYLOAD(MEGABYTES)
    result = run(sh("tee /dev/stderr"), payload)
    assert result.out == payload
    assert len(result.err) > 0


def test_run_outlives_a_program_that_does_not_read() -> None:
    assert run(["true"], PAYLOAD(MEGABYTES)).status == 0


def test_run_takes_a_file_as_stdin(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"from a file")
    with (tmp_path / "in").open("rb") as file:
        assert run(["cat"], file).out == b"from a file"
    assert run(["cat"], DEVNULL).out == b""


def test_run_fails_a_program_that_takes_too_long() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"no the end of stdout after 1 s\n stdout: b'half'"):
        run(sh("printf half; exec sleep 60"), timeout=1)


def test_reading_takes_exactly_what_was_asked_for() -> None:
    with Running(["cat"]) as process:
        process.send(b"one\ntwo\nrest")
        assert process.read(2) == b"on"
        assert process.read_until(b"two\n") == b"e\ntwo\n"
        process.close_stdin()
        assert process.read_all() == b"rest"
        assert process.wait() == 0


def test_a_failing_wait_shows_what_had_been_received() -> None:
    with Running(sh("printf some; echo warning >&2; cat")) as process:
        process.expect("warning")
        with pytest.raises(pytest.fail.Exception, match=r"running\): no 9 bytes(.|\n)*b'some'(.|\n)*warning"):
            process.read(9, timeout=0.1)


def test_a_wait_for_what_cannot_come_any_more_fails_at_once() -> None:
    with Running(["true"]) as process, pytest.raises(pytest.fail.Exception, match="before its end"):
        process.expect("never", timeout=50)


def test_expect_can_wait_for_a_repetition() -> None:
    with Running(sh("echo got 1 >&2; read x; echo got 2 >&2; cat")) as process:
        assert process.expect(r"^got (\d)$")[1] == "1"
        process.send(b"\n")
        assert process.expect(r"^got (\d)$", count=2)[1] == "2"


def test_send_fails_when_the_process_does_not_read() -> None:
    with Running(["sleep", "60"]) as process, pytest.raises(pytest.fail.Exception, match="bytes of stdin not taken"):
        process.send(PAYLOAD(MEGABYTES), timeout=0.1)


def test_everything_written_is_there_once_the_process_has_ended() -> None:
    with Running(sh("sleep 60 & echo last words >&2")) as process:  # the sleep keeps the pipes open
        assert process.wait() == 0
        assert process.stderr == "last words\n"


def test_a_pipe_as_stdout_is_left_alone() -> None:
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as reader, os.fdopen(theirs, "wb") as writer, Running(["cat"], stdout=writer) as process:
        process.send(b"mine")
        assert os.read(reader.fileno(), 10) == b"mine"


def test_leaving_ends_the_process_and_its_descendants() -> None:
    with Running(sh("sh -c 'sleep 60 & echo $!; wait' & wait")) as process:
        sleeper = int(process.read_until(b"\n"))
        (child,) = process.children()
    for pid in (process.pid, child, sleeper):
        assert not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text()


def test_leaving_ends_a_process_that_ignores_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "GRACE", 0.1)
    with Running(sh("trap '' TERM; echo ready; while :; do sleep 60; done")) as process:
        process.read_until(b"ready\n")
    assert process.wait() == 128 + signal.SIGKILL


def test_leaving_leaves_no_descriptor_or_thread_behind() -> None:
    before = sorted(os.listdir("/proc/self/fd")), threading.active_count()
    with Running(["cat"]):
        assert threading.active_count() > before[1]
    assert (sorted(os.listdir("/proc/self/fd")), threading.active_count()) == before


def test_the_system_is_asked_about_a_process() -> None:
    with Running(sh("i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; echo; cat"), stdin=DEVNULL) as process:
        process.read_until(b"\n")
        assert process.wait() == 0
    with Running([sys.executable, "-c", "sum(range(10**7)); print(flush=True); input()"]) as process:
        process.read_until(b"\n")
        assert process.cpu_seconds() > 0
        assert [link.partition(":")[0] for link in process.descriptors()[:3]] == ["pipe", "pipe", "pipe"]
        process.signal(signal.SIGKILL)
        assert process.wait() == 128 + signal.SIGKILL


def test_a_listener_is_ready_once_it_has_announced_its_port() -> None:
    with free_port() as port:
        pass  # nc.openbsd does not report an ephemeral port
    with announced(Running([require("nc.openbsd"), "-nvl", "127.0.0.1", str(port)])) as listener:
        assert listener.port == port
        with connect(port) as client:
            client.sendall(b"hello")
            assert listener.read(5) == b"hello"
            listener.send(b"bye")
            assert client.recv(10) == b"bye"
        assert listener.finish().status == 0


def test_a_server_with_another_message_is_ended() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"no '.*Listening on"):
        announced(Running(sh("echo cannot bind >&2; exit 1")))


def test_a_held_tcp_port_refuses() -> None:
    with free_port() as port, pytest.raises(ConnectionRefusedError):
        connect(port)


def test_a_held_udp_port_refuses() -> None:
    with free_port(socket.SOCK_DGRAM) as port, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(("127.0.0.1", port))
        client.send(b"hello?")
        with pytest.raises(ConnectionRefusedError):
            client.recv(1)


def echo(conn: socket.socket) -> None:
    while data := conn.recv(1 << 16):
        conn.sendall(data)


def test_serve_runs_a_handler_for_each_client() -> None:
    with serve(echo) as (host, port), connect(port, host) as one, connect(port, host) as two:
        for client in (one, two, one):
            client.sendall(b"x")
            assert client.recv(10) == b"x"


def test_serve_shuts_down_what_is_still_open() -> None:
    ended = threading.Event()

    def handler(conn: socket.socket) -> None:
        conn.sendall(b"hello")
        assert conn.recv(1) == b""
        ended.set()

    with serve(handler) as (_, port):
        client = connect(port)
        assert client.recv(5) == b"hello"
    with client:
        assert ended.is_set()
        assert client.recv(1) == b""


@given(size=st.integers(0, 100_000))
def test_a_payload_is_the_same_every_time(size: int) -> None:
    assert PAYLOAD(size) == PAYLOAD(size)
    assert len(PAYLOAD(size)) == size


@pytest.mark.parametrize("language", ["upper_c", "upper_py"])
def test_the_upper_case_server_serves_many_at_once(language: str, request: pytest.FixtureRequest) -> None:
    start: Callable[[], Running] = request.getfixturevalue(language)
    with start() as server, connect(server.port) as one, connect(server.port) as two:
        for client in (one, two, one):
            client.sendall(b"no newline")
            assert client.recv(100) == b"NO NEWLINE"


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "IN_CI", False)
    with pytest.raises(pytest.skip.Exception, match="nc.nowhere is not installed"):
        require("sh", "nc.nowhere")
    monkeypatch.setattr(harness, "IN_CI", True)
    with pytest.raises(pytest.fail.Exception, match="nc.nowhere is not installed"):
        require("sh", "nc.nowhere")
