"""scripts/soak: it finds what is lost or left behind, and a few of its sessions go well."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from harness import UNMEASURED, run
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parent.parent.parent
sys.path.append(str(ROOT / "scripts" / "lib"))

from soak import Lost, cli, wire  # noqa: E402 (found by the line above)
from soak.servers import MORE_MEMORY, Usage  # noqa: E402

SOAK = [sys.executable, "-I", str(ROOT / "scripts" / "lib" / "soak")]


@pytest.mark.parametrize(
    ("received", "words"),
    [
        (b"abc", "3 bytes came of 4; the first 3 are right"),
        (b"abxd", "4 bytes came of 4; the first 2 are right"),
        (b"abcde", "5 bytes came of 4"),
    ],
)
def test_other_bytes_than_were_sent_are_a_loss(received: bytes, words: str) -> None:
    with pytest.raises(Lost, match=words):
        wire.check(received, b"abcd")


@given(st.lists(st.tuples(st.sampled_from(list(wire.SLOTS)), st.binary())))
def test_what_each_sender_has_sent_is_taken_out_of_a_mixed_stream(parts: list[tuple[int, bytes]]) -> None:
    mixed = b"".join(wire.probe(slot) + wire.marked(data, slot) for slot, data in parts)
    for slot in wire.SLOTS:
        sent = b"".join(data for each, data in parts if each == slot)
        assert wire.content(mixed, slot) == wire.marked(sent, slot)


def test_what_a_server_holds_at_the_end_beyond_what_it_held_before_is_reported() -> None:
    before = Usage(memory=12.0, descriptors=8, children=0)
    assert cli.grown(before, before) == []
    after = Usage(memory=12.0 + 2 * MORE_MEMORY, descriptors=9, children=1)
    assert cli.grown(before, after) == [
        "1 children are left",
        "9 descriptors instead of 8",
        "36.0 MB of memory instead of 12.0",
    ]


@pytest.mark.timeout(120)
def test_a_session_can_be_run_again_by_its_number() -> None:
    chosen = [f"--session={number}" for number in range(1, 9)]
    ended = run([*SOAK, "--seed=1", *chosen], timeout=100, env=UNMEASURED)
    assert ended.status == 0 and b"seed 1, " in ended.out and b"0 sessions failed" in ended.out, ended
