"""`echo page | pync -lk --http`: a page that comes by a pipe is for every client from its start."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
from clients import drain, reset, take
from harness import PAYLOAD, PIPE, PYNC, Running, announced, connect, digest, listen
from http_clients import GET, ask, curl, http, parsed
from pairs import complaints

LARGE = PAYLOAD(3_000_000)  # more than is kept in memory


@pytest.mark.parametrize("redirection", ["<<< OK", "< <(echo OK)", "< <(echo OK; sleep 0.2)"])
def test_every_client_gets_what_a_shell_wrote_into_the_pipe(redirection: str) -> None:
    script = f'exec "$0" -v -lk --http 127.0.0.1 0 {redirection}'
    with announced(Running(["bash", "-c", script, *PYNC])) as server:
        for _ in range(3):
            assert curl(server) == b"OK\n"


def test_every_client_gets_all_of_a_large_pipe_and_the_file_has_no_name() -> None:
    with http(PIPE, "-k") as server:
        with connect(server.port) as first:
            first.sendall(GET)
            server.send(LARGE)
            server.close_stdin()
            assert digest(parsed(drain(first)).body) == digest(LARGE)
        for _ in range(2):
            answer = parsed(curl(server, "-i"))
            assert (digest(answer.body), answer.headers["content-length"]) == (digest(LARGE), str(len(LARGE)))
        assert [name for name in server.descriptors() if name.startswith("/tmp") and name.endswith(" (deleted)")]
        assert parsed(curl(server, "-i", "-r", "5-9")).body == LARGE[5:10]


def test_a_client_that_comes_before_the_end_gets_what_is_there_and_then_the_rest() -> None:
    with http(PIPE, "-k") as server, connect(server.port) as early, connect(server.port) as late:
        early.sendall(GET)
        server.send(b"one ")
        head = take_until(early, b"one ")
        late.sendall(GET)
        assert take_until(late, b"one ").partition(b"\r\nDate")[0] == head.partition(b"\r\nDate")[0]
        server.send(b"two")
        server.close_stdin()
        assert drain(early) == drain(late) == b"two"


def take_until(conn: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        data += take(conn, 1)
    return data


def test_a_slow_client_does_not_hold_up_the_others_and_is_not_cut_off() -> None:
    with http(PIPE, "-k") as server, connect(server.port) as slow:
        slow.sendall(GET)
        server.send(LARGE)
        server.close_stdin()
        assert digest(curl(server)) == digest(LARGE)
        assert digest(parsed(drain(slow)).body) == digest(LARGE)
        assert complaints(server) == []


def test_a_pipe_is_read_only_when_a_client_wants_more() -> None:
    with http(PIPE, "-k") as server:
        server.send(b"begun")
        assert ask(server, b"") == b""
        with connect(server.port) as client:
            client.sendall(GET)
            assert take_until(client, b"begun")


def test_a_head_request_does_not_use_a_pipe_up() -> None:
    with http(PIPE, "-k") as server:
        server.send(b"page")
        assert parsed(curl(server, "-I")).body == b""
        server.close_stdin()
        assert curl(server) == b"page"


def test_a_socket_as_stdin_is_kept_as_a_pipe_is() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, http(theirs.fileno(), "-k") as server:
        theirs.close()
        ours.sendall(b"page")
        ours.shutdown(socket.SHUT_WR)
        for _ in range(2):
            assert curl(server) == b"page"


def test_the_one_answer_is_given_again_if_its_first_client_breaks_off() -> None:
    with http(PIPE) as server:
        client = connect(server.port)
        client.sendall(GET)
        server.send(b"one ")
        take_until(client, b"one ")
        reset(client)
        server.expect("^pync: connection to .*reset")
        server.send(b"two")
        server.close_stdin()
        assert curl(server) == b"one two"
        assert server.wait() == 0


def test_a_long_pipe_cannot_be_given_again_so_its_failure_is_that_of_the_run() -> None:
    with http(PIPE) as server:
        client = connect(server.port)
        client.sendall(GET)
        server.send(LARGE)
        take(client, 2 << 20)
        reset(client)
        assert server.wait() == 1
        assert len(complaints(server)) == 1


def test_when_no_file_can_be_made_later_clients_get_what_still_comes(tmp_path: Path) -> None:
    """A limit of the size of files is the same as a full disk."""
    script = 'ulimit -f 1024; trap "" XFSZ; exec "$0" -v -lk --http 127.0.0.1 0'
    with announced(Running(["bash", "-c", script, *PYNC])) as server, connect(server.port) as early:
        early.sendall(GET)
        server.send(LARGE)
        take_until(early, b"\r\n\r\n")
        assert digest(take(early, len(LARGE))) == digest(LARGE)
        server.expect("^pync: stdin is not kept for later clients any more: File too large$")
        with connect(server.port) as late:
            late.sendall(GET)
            server.read_until(b"\r\n\r\n")
            server.read_until(b"\r\n\r\n")
            server.send(b"now")
            assert take(early, 3) == b"now"
            server.close_stdin()
            assert parsed(drain(late)).body == b"now"


def test_a_signal_breaks_an_answer_that_has_no_length() -> None:
    """An end of the connection would look like the end of the page."""
    with http(PIPE, "-k") as server, connect(server.port) as client:
        client.sendall(GET)
        server.send(b"begun")
        take_until(client, b"begun")
        server.signal(signal.SIGTERM)
        assert server.wait() == 143
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_client_of_a_page_without_an_end_that_breaks_off_is_found_without_traffic() -> None:
    with http(PIPE, "-k") as server:
        client = connect(server.port)
        client.sendall(GET)
        server.send(b"begun")
        take_until(client, b"begun")
        reset(client)
        server.expect("^pync: connection to .*reset")


# -- Without --http ----------------------------------------------------------------------------------------------------


def test_a_client_that_comes_after_the_end_of_stdin_is_a_line_with_v() -> None:
    with listen("-k", "127.0.0.1", "0") as server:
        with connect(server.port) as first:
            server.send(b"OK\n")
            server.close_stdin()
            assert drain(first) == b"OK\n"
        with connect(server.port) as second:
            assert drain(second) == b""
        server.expect(r"^pync: stdin had ended before 127\.0\.0\.1:\d+ came, which is sent nothing$")
        assert len(complaints(server)) == 1


def test_a_collector_whose_stdin_was_empty_has_nothing_to_say(tmp_path: Path) -> None:
    with listen("-k", "127.0.0.1", "0") as server:
        server.close_stdin()
        for number in range(2):
            with connect(server.port) as client:
                client.sendall(b"%d\n" % number)
                server.read_until(b"%d\n" % number)
        assert complaints(server) == []
