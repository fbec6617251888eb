"""The words for what was moved, and the lines that are made of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.config import Config
from pync.events import Address, SessionEnded
from pync.faces.native.messages import Messages
from pync.faces.native.progress import progress_line
from pync.faces.native.traffic import duration, end_line, size
from pync.relay.progress import Meter, Progress

CONFIG = Config(mode="connect", host="h", ports=(80,))
ENDED = SessionEnded(
    peer=Address(host="127.0.0.1", port=50312),
    sent=1_400_000_000,
    received=12,
    seconds=3.2,
    ended_by="peer",
    why=None,
    status=None,
)
PROGRESS = Progress(
    stage="running",
    sent=1_400_000_000,
    received=0,
    sent_rate=437e6,
    received_rate=0.0,
    seconds=3.2,
    size=None,
    left=None,
    clients=None,
    drawn=False,
    last=False,
)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (ENDED, "sent 1.4 GB, received 12 B in 3.2 s (438 MB/s), closed by the peer"),
        (ENDED.but(ended_by="us", seconds=0.0), "sent 1.4 GB, received 12 B in 0.000 s, closed by us"),
        (ENDED.but(sent=0, received=0, ended_by="limit"), "sent 0 B, received 0 B in 3.2 s, ended by a limit"),
        (ENDED.but(received=None, ended_by="error"), "sent 1.4 GB in 3.2 s (438 MB/s), ended by an error"),
        (
            ENDED.but(sent=None, received=None, ended_by="program", status=3, seconds=75),
            "over after 75 s, exit status 3",
        ),
        (
            ENDED.but(ended_by="signal", sent_sha256="ab", received_sha256="cd", received=0),
            "sent 1.4 GB, received 0 B in 3.2 s (438 MB/s), ended by a signal; SHA-256 until then: sent ab",
        ),
        (
            ENDED.but(ended_by="target", sent_sha256="ab", received_sha256="cd"),
            "sent 1.4 GB, received 12 B in 3.2 s (438 MB/s), closed by the target; SHA-256: sent ab, received cd",
        ),
    ],
)
def test_the_line_at_the_end_of_a_session(event: SessionEnded, line: str) -> None:
    assert end_line(event, CONFIG) == f"pync: 127.0.0.1:50312: {line}"


def test_a_unix_client_without_a_name_is_known_by_the_listeners_path() -> None:
    config = Config(mode="listen", family="unix", host="/tmp/s")
    assert end_line(ENDED.but(peer=Address(host="")), config).startswith("pync: /tmp/s: sent")


@pytest.mark.parametrize(("verbosity", "checksum"), [(0, False), (0, True), (1, False)])
def test_the_end_of_a_session_is_reported_with_v_or_a_checksum(verbosity: int, checksum: bool) -> None:
    messages = Messages(CONFIG.but(verbosity=verbosity, checksum=checksum))
    assert messages.wants(SessionEnded) is (checksum or verbosity > 0)
    assert messages.wants(Progress)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (PROGRESS, "sent 1.4 GB (437 MB/s) in 3.2 s"),
        (PROGRESS.but(size=2_000_000_000, left=1.37), "70 %, 1.4 s left, sent 1.4 GB (437 MB/s) in 3.2 s"),
        (PROGRESS.but(size=1_000), "100 %, sent 1.4 GB (437 MB/s) in 3.2 s"),
        (PROGRESS.but(sent_rate=0.0), "sent 1.4 GB (0 B/s) in 3.2 s"),
        (PROGRESS.but(received=5, received_rate=2.0), "sent 1.4 GB (437 MB/s), received 5 B (2 B/s) in 3.2 s"),
        (PROGRESS.but(received=5), "sent 1.4 GB (437 MB/s), received 5 B in 3.2 s"),
        (PROGRESS.but(clients=1), "sent 1.4 GB (437 MB/s) in 3.2 s, 1 client"),
        (PROGRESS.but(sent=0, sent_rate=0.0, clients=3), "sent 0 B (0 B/s), received 0 B in 3.2 s, 3 clients"),
        (PROGRESS.but(sent=None, sent_rate=None, received=None, received_rate=None), "running for 3.2 s"),
        (PROGRESS.but(stage="connecting"), "connecting to h port 80"),
        (PROGRESS.but(stage="waiting"), "waiting for a client"),
        (PROGRESS.but(stage="waiting", clients=0), "0 clients"),
        (PROGRESS.but(stage="scanning"), "scanning"),
    ],
)
def test_the_line_of_progress(event: Progress, line: str) -> None:
    assert progress_line(event, CONFIG) == f"pync: {line}"


@given(st.integers(0, 10**17))
def test_a_size_has_at_most_three_digits_and_is_right_to_them(count: int) -> None:
    number, unit = size(count).split()
    assert re.fullmatch(r"\d{1,3}|\d\.\d{1,2}|\d\d\.\d", number)
    factor = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15}[unit]
    assert float(number) * factor == pytest.approx(count, rel=0.006)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.000 s"),
        (0.0123, "0.012 s"),
        (3.21, "3.2 s"),
        (99.7, "1 min 40 s"),
        (725, "12 min 5 s"),
        (12_000, "3 h 20 min"),
    ],
)
def test_a_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# -- Rates


@given(st.lists(st.tuples(st.floats(0.01, 3), st.integers(0, 10**9)), min_size=1, max_size=60))
def test_a_rate_is_that_of_the_last_seconds(steps: list[tuple[float, int]]) -> None:
    meter, now, sent = Meter(0.0), 0.0, 0
    looks = [(0.0, 0)]
    for seconds, more in steps:
        now, sent = now + seconds, sent + more
        meter.look(now, (sent, None))
        looks.append((now, sent))
        old = max((look for look in looks if look[0] <= now - 5), default=looks[0])
        old = min(old, looks[-2])
        later = now + 0.5
        rate, unknown = meter.rates(later, (sent, None))
        assert rate == pytest.approx((sent - old[1]) / (later - old[0]))
        assert unknown is None
    assert len(meter.looks) <= 5 / 0.01 + 2
