"""`pync -lk --http < file`: parts of a file, for a download that resumes and a video that seeks; and sizes that lie."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from clients import drain, take
from harness import PAYLOAD, Running, connect, digest, require, run
from http_clients import GET, ask, curl, curl_line, http, parsed
from pairs import complaints

from pync.endpoints import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

DATA = PAYLOAD(3_000_000)
SMALL = PAYLOAD(1000)

schemes = pytest.mark.parametrize("scheme", ["http", "https"])
plain_or_tls = {"http": (), "https": ("--ssl",)}


@pytest.fixture(params=["small", "large"])
def data(request: pytest.FixtureRequest) -> bytes:
    """The content of a file that is read before it is sent, or of one that the kernel sends."""
    return SMALL if request.param == "small" else DATA


@pytest.fixture
def file(tmp_path: Path, data: bytes) -> Iterator[IO[bytes]]:
    """A file on stdin."""
    (tmp_path / "file").write_bytes(data)
    with (tmp_path / "file").open("rb") as file:
        yield file


def get(fields: str, method: str = "GET") -> bytes:
    return f"{method} / HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n".encode()


@schemes
def test_curl_resumes_a_download(file: IO[bytes], data: bytes, tmp_path: Path, scheme: str) -> None:
    part = tmp_path / "part"
    part.write_bytes(data[: len(data) // 3])
    with http(file, "-k", *plain_or_tls[scheme]) as server:
        curl(server, "-C", "-", "-o", str(part), scheme=scheme)
        assert digest(part.read_bytes()) == digest(data)
        curl(server, "-C", "-", "-o", str(part), scheme=scheme)  # it is whole already
        assert digest(part.read_bytes()) == digest(data)
        assert [text for text in complaints(server) if "connection to" in text] == []


def test_wget_resumes_a_download(file: IO[bytes], data: bytes, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(data[: len(data) // 3])
    with http(file) as server:
        url = f"http://127.0.0.1:{server.port}/"
        assert run([require("wget"), "-q", "--no-proxy", "-c", "-O", str(part), url]).status == 0
        assert digest(part.read_bytes()) == digest(data)
        assert server.wait() == 0


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=10-19", 10, 20), ("bytes=990-", 990, None), ("bytes=-7", -7, None)],
)
def test_a_part_is_sent_as_206(file: IO[bytes], data: bytes, asked: str, start: int, stop: int | None) -> None:
    with http(file) as server:
        answer = parsed(ask(server, get(f"Range: {asked}")))
        assert server.wait() == 0
    part = data[start:stop]
    first = start % len(data)
    assert (answer.status, digest(answer.body)) == (206, digest(part))
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(part) - 1}/{len(data)}"
    assert answer.headers["content-length"] == str(len(part))


def test_a_part_beyond_the_end_is_416_and_an_answer(file: IO[bytes], data: bytes) -> None:
    with http(file) as server:
        answer = parsed(ask(server, get(f"Range: bytes={len(data)}-")))
        assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{len(data)}")
        assert server.wait() == 0


def test_several_parts_are_the_whole_file(file: IO[bytes], data: bytes) -> None:
    with http(file) as server:
        answer = parsed(ask(server, get("Range: bytes=0-1,5-6")))
        assert (answer.status, digest(answer.body)) == (200, digest(data))


def test_a_file_has_validators_and_a_client_that_has_it_gets_304(file: IO[bytes], data: bytes) -> None:
    with http(file, "-k") as server:
        head = parsed(ask(server, get("Range: bytes=0-9", "HEAD")))
        assert (head.status, head.headers["content-length"], head.body) == (200, str(len(data)), b"")
        assert head.headers["accept-ranges"] == "bytes"
        for field in (f"If-None-Match: {head.headers['etag']}", f"If-Modified-Since: {head.headers['last-modified']}"):
            answer = parsed(ask(server, get(field)))
            assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", head.headers["etag"])


def test_a_part_of_a_file_that_has_changed_meanwhile_is_not_mixed_with_the_old_one(
    file: IO[bytes], data: bytes, tmp_path: Path
) -> None:
    with http(file, "-k") as server:
        etag = parsed(ask(server, get("", "HEAD"))).headers["etag"]
        assert parsed(ask(server, get(f"Range: bytes=5-9\r\nIf-Range: {etag}"))).status == 206
        os.utime(tmp_path / "file", (1, 1))
        answer = parsed(ask(server, get(f"Range: bytes=5-9\r\nIf-Range: {etag}")))
        assert (answer.status, digest(answer.body)) == (200, digest(data))


def test_a_part_counts_from_where_the_file_stands(file: IO[bytes], data: bytes) -> None:
    file.seek(100)
    with http(file) as server:
        answer = parsed(ask(server, get("Range: bytes=5-9")))
    assert (answer.headers["content-range"], answer.body) == (f"bytes 5-9/{len(data) - 100}", data[105:110])


def test_what_is_changed_on_its_way_has_no_length_and_no_parts(tmp_path: Path) -> None:
    (tmp_path / "page").write_bytes(b"one\ntwo\n")
    with (tmp_path / "page").open("rb") as page, http(page, "-C") as server:
        answer = parsed(curl(server, "-i", "-r", "0-1"))
    assert (answer.status, answer.body) == (200, b"one\r\ntwo\r\n")
    assert not {"content-length", "accept-ranges", "etag"} & answer.headers.keys()


# -- Sizes that lie ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK, CHUNK + 1])
def test_a_file_has_its_length_whether_it_is_read_before_or_not(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(data := PAYLOAD(size))
    with (tmp_path / "file").open("rb") as file, http(file) as server:
        answer = parsed(curl(server, "-i"))
    assert (answer.headers["content-length"], digest(answer.body)) == (str(size), digest(data))


@pytest.mark.parametrize("path", ["/sys/kernel/mm/transparent_hugepage/enabled", "/proc/version", "/proc/kallsyms"])
def test_a_file_of_the_kernel_is_sent_as_it_reads(path: str) -> None:
    if not os.access(path, os.R_OK):
        path = "/sys/devices/system/cpu/online"
    with open(path, "rb") as file:  # noqa: PTH123
        content = file.read()
    with open(path, "rb") as file, http(file) as server:  # noqa: PTH123
        answer = parsed(curl(server, "-i"))
        assert server.wait() == 0
    assert digest(answer.body) == digest(content)
    assert answer.headers.get("content-length", str(len(content))) == str(len(content))


@pytest.mark.parametrize("options", [(), ("-k",)])
def test_a_file_that_becomes_shorter_is_an_error(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "file").write_bytes(PAYLOAD(20 << 20))
    with (tmp_path / "file").open("rb") as file, http(file, *options) as server, connect(server.port) as client:
        client.sendall(GET)
        take(client, 1000)
        os.truncate(tmp_path / "file", 1 << 20)
        with pytest.raises(ConnectionResetError):  # an end-of-file could be taken for that of the page
            drain(client)
        why = r"stdin has become shorter, \d+ bytes of what was promised are missing"
        server.expect(rf"^pync: answer to 127\.0\.0\.1:\d+: {why}$")
        if not options:
            assert server.wait() == 1


def test_curl_sees_that_the_file_has_become_shorter(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(PAYLOAD(20 << 20))
    with (tmp_path / "file").open("rb") as file, http(file) as server:
        os.mkfifo(tmp_path / "out")
        words = curl_line(server, "-o", str(tmp_path / "out"))
        with Running(words) as client, (tmp_path / "out").open("rb", buffering=0) as out:
            out.read(1000)
            os.truncate(tmp_path / "file", 1 << 20)
            while out.read(1 << 20):
                pass
            assert client.wait() in (18, 56)  # a partial file, or a connection that broke
        assert server.wait() == 1


GROWING = 20 << 20


@pytest.mark.parametrize(
    "options", [(), ("-o", "/dev/null"), ("--delay", "1ms")], ids=["by the kernel", "copied", "late"]
)
@pytest.mark.parametrize(
    ("field", "part"),
    [("X: y", slice(None)), ("Range: bytes=7-", slice(7, None)), ("Range: bytes=-9999999", slice(-9999999, None))],
)
def test_of_a_file_that_grows_no_more_is_sent_than_was_promised(
    tmp_path: Path, options: tuple[str, ...], field: str, part: slice
) -> None:
    (tmp_path / "file").write_bytes(data := PAYLOAD(GROWING))
    with (tmp_path / "file").open("rb") as file, http(file, *options) as server, connect(server.port) as client:
        client.sendall(get(field))
        start = take(client, 1000)
        with (tmp_path / "file").open("ab") as more:
            more.write(PAYLOAD(1 << 20))
        answer = parsed(start + drain(client))
        assert digest(answer.body) == digest(data[part])
        assert answer.headers["content-length"] == str(len(answer.body))
        client.close()
        assert server.wait() == 0
