"""Log files: copies of the bytes that pass, raw and in hexadecimal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from conformance import human
from harness import PAYLOAD

from pync.config import Config, Logs
from pync.errors import OutputError
from pync.relay.log_files import RECEIVED, SENT, LogFile, LogFiles, LogStage
from pync.relay.open_logs import open_logs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Opened:
    """Opens logs, and closes them at the end of the test: pync leaves that to the end of the process."""

    def __init__(self) -> None:
        self.files: list[LogFile] = []

    def file(self, path: Path | str, *, append: bool = False) -> LogFile:
        self.files.append(LogFile(str(path), append=append))
        return self.files[-1]

    def logs(self, raw: Path | None = None, hexadecimal: Path | None = None) -> LogFiles:
        asked = Logs(raw=str(raw) if raw else None, hexadecimal=str(hexadecimal) if hexadecimal else None)
        logs = open_logs(Config(mode="connect", logs=asked))
        self.files += [file for file in (logs.raw, logs.hexadecimal) if file]
        return logs


@pytest.fixture
def opened() -> Iterator[Opened]:
    opened = Opened()
    yield opened
    for file in opened.files:
        os.close(file.fd)


def test_a_log_begins_anew_or_goes_on(tmp_path: Path, opened: Opened) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"yesterday\n")
    opened.file(path, append=True).write(b"today\n")
    assert path.read_bytes() == b"yesterday\ntoday\n"
    opened.file(path).write(b"anew\n")
    assert path.read_bytes() == b"anew\n"


def test_programs_do_not_inherit_a_log(tmp_path: Path, opened: Opened) -> None:
    assert not os.get_inheritable(opened.file(tmp_path / "log").fd)


def test_the_raw_log_has_both_directions_in_their_order(tmp_path: Path, opened: Opened) -> None:
    logs = opened.logs(raw=tmp_path / "log")
    (sent,), (received,) = logs.copy(SENT), logs.copy(RECEIVED)
    for copy, word in ((sent, b"one\n"), (received, b"two\n"), (sent, b"three\n")):
        assert copy.feed(word) == word
        assert copy.flush() == b""
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\nthree\n"


def test_the_hex_log_marks_the_direction_and_counts_each_from_its_start(tmp_path: Path, opened: Opened) -> None:
    logs = opened.logs(hexadecimal=tmp_path / "log")
    (sent,), (received,) = logs.copy(SENT), logs.copy(RECEIVED)
    for copy, word in ((sent, b"abc"), (received, b"xy"), (sent, b"d")):
        assert copy.feed(word) == word
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.split()[:2] for line in lines] == [[">", "00000000"], ["<", "00000000"], [">", "00000003"]]


def test_both_logs_can_be_kept_at_once(tmp_path: Path, opened: Opened) -> None:
    logs = opened.logs(raw=tmp_path / "raw", hexadecimal=tmp_path / "hex")
    (copy,) = logs.copy(SENT)
    assert copy.feed(b"data") == b"data"
    assert (tmp_path / "raw").read_bytes() == b"data"
    assert "64 61 74 61" in (tmp_path / "hex").read_text()


def test_without_logs_there_is_no_stage_in_the_flow(opened: Opened) -> None:
    assert opened.logs().copy(SENT) == ()


def test_what_is_taken_in_parts_is_written_to_the_end(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened.file(tmp_path / "log")
    really = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: really(fd, data[:100]))
        log.write(PAYLOAD(1234))
    assert (tmp_path / "log").read_bytes() == PAYLOAD(1234)


def test_a_log_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "log"
    with pytest.raises(OutputError) as raised:
        LogFile(str(path), append=False)
    assert str(raised.value) == f"opening {path}: No such file or directory"
    human(raised.value)


def test_a_log_that_cannot_be_written_is_an_error(opened: Opened) -> None:
    copy = LogStage([opened.file("/dev/full").write])
    with pytest.raises(OutputError, match="^writing /dev/full: No space left on device$"):
        copy.feed(b"x")
