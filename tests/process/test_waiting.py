"""Waiting for places: `pync -z HOST:PORT … -- COMMAND` waits for all of them, for one, or until none is open.

A place that refuses is a port that the test holds and does not listen on.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import tempfile
import threading
from typing import TYPE_CHECKING

import pytest
from encrypted import server_side, trusting
from harness import DEVNULL, PYNC, Result, Running, failure, free_port, pync, require, run, serve, success
from loopback import black_hole
from servers import ncat_proxy, on_a_free_port
from test_process_one_in_a_container import Container, first_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certificates import Authority, Certificate

REFUSED = "Connection refused"


@contextlib.contextmanager
def open_place() -> Iterator[str]:
    """A place that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield f"127.0.0.1:{sock.getsockname()[1]}"


@contextlib.contextmanager
def closed_place() -> Iterator[tuple[str, int]]:
    """A place that refuses, and its port."""
    with free_port() as port:
        yield f"127.0.0.1:{port}", port


def waits(*words: str) -> Result:
    return run([*PYNC, "-z", *words])


# -- All, any, none ------------------------------------------------------------------------------------------------


def test_all_places_must_be_open() -> None:
    with open_place() as one, open_place() as two, closed_place() as (shut, _):
        assert waits(one, two) == success()
        assert waits(one, shut, two) == failure(f"not open: {shut} ({REFUSED})")


def test_of_one_host_s_ports_one_open_port_is_enough_still() -> None:
    with open_place() as one, closed_place() as (_, shut):
        assert waits("127.0.0.1", one.partition(":")[2], str(shut)) == success()
        assert waits("--", "127.0.0.1", one.partition(":")[2], str(shut)) == success()


def test_one_open_place_is_enough_with_any() -> None:
    with open_place() as one, closed_place() as (shut, _), black_hole() as dark:
        assert waits("--any", f"127.0.0.1:{dark}", shut, one) == success()
        assert waits("--any", shut, "unix:///nowhere") == failure(
            f"none is open: {shut} ({REFUSED}), /nowhere (No such file or directory)"
        )


def test_closed_is_for_places_of_which_none_is_open() -> None:
    with open_place() as one, closed_place() as (shut, _):
        assert waits("--closed", shut) == success()
        assert waits("--closed", shut, one) == failure(f"still open: {one}")


def test_the_time_of_retry_ends_the_waiting_with_the_places_that_are_not_as_wanted() -> None:
    with open_place() as one, closed_place() as (shut, _):
        late = failure(f"not open after 0.3 s: {shut} ({REFUSED})", 124)
        assert waits("--retry", "300ms", one, shut) == late
        assert waits("--retry", "300ms", "--closed", one, shut) == failure(f"still open after 0.3 s: {one}", 124)


def test_a_name_without_an_address_is_waited_for() -> None:
    result = waits("--retry", "300ms", "nowhere.invalid:80", "127.0.0.1:1")
    assert result.status == 124
    assert result.err.startswith("pync: not open after 0.3 s: nowhere.invalid:80 (")


def test_a_place_that_opens_later_is_waited_for_and_each_is_listed_once() -> None:
    with open_place() as one, tempfile_path() as path, pync("-vvz", "--retry", "20", one, f"unix://{path}") as waiting:
        waiting.expect("the next attempt is in", count=2)
        with socket.socket(socket.AF_UNIX) as late:
            late.bind(path)
            late.listen()
            status, _, lines = waiting.finish()
    assert status == 0
    assert lines.count(" succeeded!\n") == 2
    assert "failed: No such file or directory\n" not in lines


@contextlib.contextmanager
def tempfile_path() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield os.path.join(folder, "s")


def test_with_v_the_outcome_of_a_place_is_listed_once_at_the_end() -> None:
    with open_place() as one, closed_place() as (shut, port):
        result = run([*PYNC, "-vz", "--retry", "500ms", one, shut])
    assert result.status == 124
    first, second, last = result.err.splitlines()
    assert re.fullmatch(r"Connection to 127\.0\.0\.1 \d+ port .* succeeded!", first)
    assert second == f"pync: connect to 127.0.0.1 port {port} (tcp) failed: {REFUSED}"
    assert last == f"pync: not open after 0.5 s: {shut} ({REFUSED})"


def test_a_place_that_is_silent_holds_up_no_other() -> None:
    asked = threading.Event()
    with (
        serve(lambda conn: asked.set()) as (_, port),
        black_hole() as dark,
        pync("-z", "--retry", "30", f"127.0.0.1:{dark}", f"127.0.0.1:{port}", stdin=DEVNULL) as waiting,
    ):
        assert asked.wait(10)
        waiting.signal(signal.SIGTERM)
        assert waiting.wait() == 128 + signal.SIGTERM


def test_an_attempt_has_the_limit_of_w() -> None:
    with black_hole() as dark:
        place = f"127.0.0.1:{dark}"
        assert waits("-w", "200ms", place, "127.0.0.1:1").err.startswith(f"pync: not open: {place} (timed out)")


@pytest.mark.parametrize("tool", ["nc.openbsd", "ncat", "socat", "redis-server"])
def test_real_servers_are_waited_for(tool: str) -> None:
    require(tool)
    command = {
        "nc.openbsd": "nc.openbsd -lk 127.0.0.1 {}",
        "ncat": "ncat -lk 127.0.0.1 {}",
        "socat": "socat TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr SYSTEM:cat",
        "redis-server": "redis-server --bind 127.0.0.1 --save --port {}",
    }[tool]
    with open_place() as one, free_port(), pync("-z", "--retry", "100", one, "127.0.0.1:1") as never:
        with on_a_free_port(lambda port: Running(command.format(port).split(), stdin=DEVNULL)) as server:
            port = str(server.port)
            assert waits("--retry", "20", one, f"127.0.0.1:{port}", "--", "echo", "there") == success(b"there\n")
        never.signal(signal.SIGINT)
        assert never.wait() == 128 + signal.SIGINT


def test_datagrams_are_waited_for_as_a_scan_tests_them() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        free_port(socket.SOCK_DGRAM) as held,
        open_place() as one,
    ):
        sock.bind(("127.0.0.1", 0))
        assert waits(f"udp://127.0.0.1:{sock.getsockname()[1]}", one) == success()
        assert held


def test_places_are_reached_through_a_proxy() -> None:
    with ncat_proxy() as proxy, open_place() as one, closed_place() as (shut, _):
        through = ("--proxy", f"127.0.0.1:{proxy.port}")
        assert waits(*through, one, one) == success()
        status, _, message = waits(*through, one, shut)
    assert status == 1
    assert message.startswith(f"pync: not open: {shut} (")


def test_more_places_than_there_are_descriptors_for_wait_for_their_turn() -> None:
    with closed_place() as (shut, _):
        result = run(["sh", "-c", 'ulimit -n 48; exec "$@"', "-", *PYNC, "-z", "--closed", *[shut] * 200])
    assert result == success()


# -- The command ---------------------------------------------------------------------------------------------------


def test_the_command_is_the_same_process_with_all_as_it_was() -> None:
    """It is compared with the same command that no pync was in front of."""
    command = ["env", "-i", "-u", "LC_ALL", "PATH=/usr/bin:/bin", "LANG=C"]
    look = [
        "sh",
        "-c",
        "ls -l /proc/self/fd | wc -l; grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status; ulimit -n; env | grep -v ^_=; cat",
    ]
    with open_place() as one:
        direct = run([*command, *look], b"stdin")
        assert direct.status == 0
        for options in [], ["-v"]:
            become = run([*command, *PYNC, "-z", *options, "--retry", "5", one, one, "--", *look], b"stdin")
            assert become.status_and_out == direct.status_and_out


def test_the_command_has_the_process_id_of_pync() -> None:
    with open_place() as one, pync("-z", one, "--", "sh", "-c", "echo $$; read word; exit 7") as process:
        assert int(process.read_until(b"\n")) == process.pid
        process.close_stdin()
        assert process.wait() == 7


def test_a_pipe_s_end_ends_the_command() -> None:
    with open_place() as one:
        script = f"{PYNC[0]} -z {one} -- yes | head -n 1; echo ${{PIPESTATUS[0]}}"
        assert run(["bash", "-c", script]).out == b"y\n141\n"


def test_a_command_that_cannot_be_run_has_the_shell_s_status(tmp_path: Path) -> None:
    with open_place() as one:
        assert waits(one, "--", "no-such-program") == failure("no-such-program: No such file or directory", 127)
        assert waits(one, "--", str(tmp_path)) == failure(f"{tmp_path}: Permission denied", 126)


def test_the_command_is_not_run_if_the_places_are_not_as_wanted() -> None:
    with closed_place() as (shut, _):
        assert waits("--retry", "200ms", shut, "--", "echo", "ran").status_and_out == (124, b"")
        assert waits(shut, "--", "echo", "ran").status_and_out == (1, b"")


def test_the_options_of_the_command_are_its_own() -> None:
    with open_place() as one:
        assert waits(one, "--", "echo", "-z", "--", "a:b") == success(b"-z -- a:b\n")
        assert waits("--", one, "--", "echo", "-v") == success(b"-v\n")


def test_a_command_follows_places_and_no_ports() -> None:
    why = "it follows HOST:PORT, as in 'pync -z db:80 -- ./serve'"
    assert waits("db", "80", "--", "./serve").err.splitlines()[0] == f"pync: a command after HOST PORT: {why}"


def test_a_signal_ends_the_waiting() -> None:
    with closed_place() as (shut, _), pync("-vvz", "--retry", "30", shut, "--", "echo", "ran") as waiting:
        waiting.expect("next attempt")
        waiting.signal(signal.SIGTERM)
        assert waiting.finish().status_and_out == (128 + signal.SIGTERM, b"")


def test_as_process_one_signals_reach_the_command_and_its_status_is_ours() -> None:
    script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    with open_place() as one, Container(*PYNC, "-z", one, "--", "sh", "-c", script) as container:
        container.read_until(b"ready\n")
        os.kill(first_process(container), signal.SIGTERM)
        assert container.read_until(b"caught\n")
        assert container.wait() == 9


# -- TLS -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def tls_server(certificate: Certificate) -> Iterator[int]:
    """A port at which TLS is spoken. How each handshake ends is the client's affair."""
    context = server_side(certificate)

    def greet(conn: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(conn, server_side=True) as peer:
            peer.recv(1)

    with serve(greet) as (_, port):
        yield port


def test_a_port_is_open_to_tls_once_a_handshake_has_succeeded(authority: Authority) -> None:
    with tls_server(authority.server) as good, serve(lambda conn: conn.sendall(b"220 no TLS\r\n")) as (_, plain):
        trust = trusting(authority, "-4")
        assert waits(*trust, "localhost", str(good)) == success()
        assert waits(*trust, "localhost", str(plain), str(good)) == success()
        assert waits(*trust, "localhost", str(plain)).status == 1
        status, _, lines = run([*PYNC, "-vz", *trust, "localhost", str(plain)])
    assert status == 1
    assert re.match(r"pync: connect to localhost \(127\.0\.0\.1\) port \d+ \(tcp\) failed: TLS: ", lines)


def test_a_certificate_that_is_not_trusted_is_no_open_port(authority: Authority) -> None:
    with tls_server(authority.elsewhere) as port:
        result = run([*PYNC, "-vz4", *trusting(authority), "localhost", str(port)])
    assert result.status == 1
    assert "TLS: the certificate" in result.err


def test_a_place_can_be_asked_for_tls_beside_others(authority: Authority) -> None:
    options = ("-4", "--ssl-trustfile", str(authority.trust))
    with tls_server(authority.server) as port, open_place() as one:
        assert waits(*options, one, f"tls://localhost:{port}") == success()
        status, _, line = waits(*options, one, f"tls://{one}")
    assert status == 1
    assert line.startswith(f"pync: not open: {one} (TLS: ")


def test_a_server_that_does_not_answer_the_handshake_is_waited_for_as_long_as_w(authority: Authority) -> None:
    with open_place() as one:
        result = waits("-w", "300ms", *trusting(authority), one, one)
    assert result == failure(
        f"not open: {one} (TLS: no answer to the handshake), {one} (TLS: no answer to the handshake)"
    )


def test_tls_is_waited_for_through_a_proxy(authority: Authority) -> None:
    with ncat_proxy() as proxy, tls_server(authority.server) as port, open_place() as one:
        through = ("-w", "2", "--proxy", f"127.0.0.1:{proxy.port}", *trusting(authority))
        assert waits(*through, f"localhost:{port}", f"localhost:{port}") == success()
        assert waits(*through, "localhost", str(port)) == success()
        assert waits(*through, f"localhost:{port}", one).status == 1


def test_a_port_behind_a_proxy_is_listed_once_and_as_closed_if_the_handshake_fails(authority: Authority) -> None:
    with ncat_proxy() as proxy, serve(lambda conn: conn.sendall(b"220 no TLS\r\n")) as (_, plain):
        through = ("-w", "5", "--proxy", f"127.0.0.1:{proxy.port}", *trusting(authority))
        status, _, lines = run([*PYNC, "-vz", *through, "localhost", str(plain)])
    assert status == 1
    assert re.fullmatch(r"pync: connect to localhost port \d+ \(tcp\) failed: TLS handshake with .*\n", lines)


def test_a_handshake_that_fails_is_tried_again(authority: Authority) -> None:
    context, plain = server_side(authority.server), threading.Event()

    def greet(conn: socket.socket) -> None:
        if not plain.is_set():
            plain.set()
            conn.sendall(b"220 starting\r\n")
            return
        with contextlib.suppress(OSError), context.wrap_socket(conn, server_side=True) as peer:
            peer.recv(1)

    with serve(greet) as (_, port):
        assert waits("-4", "--retry", "20", *trusting(authority), "localhost", str(port)) == success()
        plain.clear()
        assert waits("-4", "--retry", "20", *trusting(authority), f"localhost:{port}", "--", "echo", "up") == success(
            b"up\n"
        )
