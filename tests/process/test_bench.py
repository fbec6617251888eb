"""scripts/bench: its arithmetic and its words, what it makes of tools that fail, and that it measures, in small.

The program is run in place by the interpreter of the tests, beside which the pync under test is installed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from harness import DEADLINE, Result, Running, require, run
from hypothesis import given
from hypothesis import strategies as st
from pairs import lives_on

ROOT = Path(__file__).parent.parent.parent
sys.path.append(str(ROOT / "scripts" / "lib"))

from bench import commands, report, rounds  # noqa: E402 (found by the line above)
from bench.commands import BARE, PYNC, TOOLS  # noqa: E402
from bench.figures import MISSING, WRONG, Cell, Figure, Goal, Line, Row, number, ratio  # noqa: E402
from bench.hubs import Audience  # noqa: E402
from bench.outcomes import Unable, Wrong  # noqa: E402
from bench.process import bound_ports, free_port  # noqa: E402
from bench.rows import NAMES, ROWS  # noqa: E402
from bench.scale import QUICK, files  # noqa: E402
from bench.tls import CERTIFICATE, Peer, certify  # noqa: E402
from bench.trial import Setting, Trial  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.scale import Payload

FASTER = Figure("a transfer", "MB/s", (Goal(2.5, "nc.openbsd"), Goal(0.75, BARE)))
LESS = Figure("a start", "ms", (Goal(0.4, "ncat"),), less=True)
WHERE = report.Circumstances("2001-02-03", "a processor", 2, "a kernel", "a Python", 5, 1 << 30)


def line(figure: Figure, **cells: float) -> Line:
    names = {"openbsd": "nc.openbsd", "bare": BARE}
    return Line("row", figure, {names.get(tool, tool): Cell([value]) for tool, value in cells.items()})


def bench(*args: str, directory: Path, **variables: str) -> Result:
    program = [sys.executable, "-I", str(ROOT / "scripts" / "lib" / "bench"), *args]
    return run(program, timeout=40, cwd=directory, env={**os.environ, "TMPDIR": str(directory), **variables})


# -- Figures


@pytest.mark.parametrize(
    ("value", "text"),
    [(123456.7, "123,457"), (100, "100"), (99.96, "100"), (12.34, "12.3"), (10, "10"), (9.996, "10"), (2.5, "2.5")]
    + [(1, "1"), (0.456, "0.456"), (0.05, "0.05"), (0.00123, "0.00123"), (0, "0")],
)
def test_a_figure_is_shown_by_its_first_three_digits(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(0.001, 1e9))
def test_what_is_shown_differs_by_less_than_a_hundredth(value: float) -> None:
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=0.01)


def test_a_cell_shows_the_median_of_its_rounds() -> None:
    assert str(Cell([1.0, 50.0, 2.0])) == "2"
    assert str(Cell([])) == MISSING


def test_a_cell_that_is_wrong_has_no_figure() -> None:
    cell = Cell([1.0], wrong="delivered other bytes")
    assert (str(cell), cell.median) == (WRONG, None)


def test_a_ratio_needs_both_figures() -> None:
    assert ratio(6, 3) == 2
    assert ratio(None, 3) is ratio(6, None) is ratio(6, 0) is None


def test_a_goal_is_a_ratio_that_must_be_reached() -> None:
    assert line(FASTER, pync=250, openbsd=100, bare=500).words() == (
        "2.50 × nc.openbsd, 0.50 × bare Python",
        "≥ 2.5, ≥ 0.75",
        "yes, no",
    )


def test_where_less_is_better_the_bound_is_an_upper_one() -> None:
    assert line(LESS, pync=40, ncat=100).words() == ("0.40 × ncat", "≤ 0.4", "yes")
    assert line(LESS, pync=41, ncat=100).words()[2] == "no"


def test_a_goal_without_another_tool_is_for_the_figure_itself() -> None:
    clients = Figure("clients", "", (Goal(10_000),))
    assert line(clients, pync=10_000).words() == ("10,000", "≥ 10,000", "yes")
    assert line(clients, pync=9_999).words()[2] == "no"


def test_a_goal_is_missed_if_pync_is_wrong_and_unknown_if_the_other_is_missing() -> None:
    assert line(LESS, pync=40).words() == (MISSING, "≤ 0.4", MISSING)
    wrong = Line("row", LESS, {PYNC: Cell([40], wrong="stuck"), "ncat": Cell([100])})
    assert wrong.words() == (MISSING, "≤ 0.4", "no")
    assert line(Figure("memory", "MB"), pync=40).words() == ("", "", "")


# -- The table


def test_the_plain_table_is_in_columns() -> None:
    head, rule, *rows = report.text([line(FASTER, pync=250, openbsd=100), line(LESS, pync=1)]).splitlines()
    for row in rows:
        assert len(row) <= len(rule)
        for at, mark in enumerate(rule):
            assert mark == "─" or row[at : at + 1] in ("", " ")
    shown = " ".join(rows[0].split())
    assert shown == "a transfer MB/s 250 100 2.50 × nc.openbsd, – ≥ 2.5, ≥ 0.75 yes, –"
    assert " ".join(rows[1].split()) == f"a start ms 1 {MISSING} {MISSING} ≤ 0.4 {MISSING}"
    assert head.split()[:4] == ["unit", PYNC, "nc.openbsd", "pync's"]  # the others took no part


def test_the_markdown_table_has_the_same_cells_in_each_row() -> None:
    table = report.markdown([line(FASTER, pync=250, openbsd=100), line(LESS, pync=1)])
    assert {row.count("|") for row in table.splitlines()} == {8}
    assert table.startswith("|  | unit | pync | nc.openbsd | pync's ratio |")


def test_the_record_keeps_every_round() -> None:
    measured = Line("row", LESS, {PYNC: Cell([1.0, 3.0, 2.0]), "ncat": Cell([], wrong="stuck")})
    record = json.loads(report.record([measured], ["a note"], WHERE))
    assert record["circumstances"]["cores"] == 2
    assert record["notes"] == ["a note"]
    (figure,) = record["figures"]
    assert figure["tools"][PYNC] == {"median": 2.0, "rounds": [1.0, 3.0, 2.0], "wrong": ""}
    assert figure["tools"]["ncat"]["wrong"] == "stuck"
    assert figure["goals"] == [{"bound": 0.4, "against": "ncat", "measured": None, "reached": None}]


def test_the_readme_gets_the_block_between_its_markers_and_nothing_else() -> None:
    document = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.put_between_markers(document, "new\n")
    assert once == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    assert report.put_between_markers(once, "new\n") == once


@pytest.mark.parametrize("document", ["", report.BEGIN, report.END, f"{report.END} {report.BEGIN}"])
def test_a_readme_without_markers_is_left_alone(document: str) -> None:
    with pytest.raises(ValueError, match="missing"):
        report.put_between_markers(document, "new")


def test_the_readme_says_when_where_and_how_it_was_measured() -> None:
    block = report.readme_block([line(LESS, pync=1)], WHERE, Path("scripts/bench.svg"))
    for fact in "2001-02-03", "a processor", "2 cores", "a kernel", "a Python", "5 rounds", "scripts/bench --readme":
        assert fact in block
    assert "](scripts/bench.svg)" in block


def test_the_table_in_the_readme_has_no_line_that_is_not_measured() -> None:
    readme = (ROOT / "README.md").read_text()
    block = readme.partition(report.BEGIN)[2].partition(report.END)[0]
    shown = re.findall(r"^\| ([^|]+?) \|", block, re.MULTILINE)
    known = {figure.title for row in ROWS for figure in row.figures}
    assert set(shown) - known - {"", "---"} == set()


# -- The rows


def test_every_row_has_a_name_and_lines_of_its_own() -> None:
    titles = [figure.title for row in ROWS for figure in row.figures]
    assert len(set(NAMES)) == len(NAMES)
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_measures_pync_and_whom_its_goals_name(row: Row) -> None:
    against = {goal.against for figure in row.figures for goal in figure.goals if goal.against}
    assert {PYNC, *against} <= row.commands.keys() <= TOOLS.keys()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_everything_stays_on_the_loopback(row: Row) -> None:
    for tool in row.commands.keys() - {BARE}:
        assert commands.HOST in " ".join(commands.argv(row.commands, tool, 1))


# -- Trials


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    scale = QUICK._replace(deadline=0.5)
    with files(scale) as made:
        yield Setting(scale, made)


def contest(setting: Setting, row: Row) -> tuple[Cell, list[str]]:
    (measured,), notes = rounds.run([row], setting, 2)
    return measured.cells[BARE], notes


def row_of(measure: object, *, verified: bool = False) -> Row:
    return Row("row", measure, {BARE: "python -c pass"}, (Figure("a figure", ""),), verified)  # type: ignore[arg-type]


def test_a_tool_is_measured_once_a_round_after_it_was_verified(setting: Setting) -> None:
    seen = []

    def measure(trial: Trial) -> list[float]:
        seen.append(trial.verifying)
        return [len(seen)]

    assert contest(setting, row_of(measure, verified=True)) == (Cell([2, 3]), [])
    assert seen == [True, False, False]


def test_a_tool_that_is_wrong_once_has_no_figure(setting: Setting) -> None:
    def measure(trial: Trial) -> list[float]:
        if not trial.verifying:
            raise Wrong("delivered nothing")
        return [1.0]

    cell, notes = contest(setting, row_of(measure, verified=True))
    assert (str(cell), notes) == (WRONG, ["row: bare Python: delivered nothing"])


def test_a_tool_that_cannot_do_it_is_not_wrong(setting: Setting) -> None:
    def measure(trial: Trial) -> list[float]:
        raise Unable("is too small for that")

    cell, notes = contest(setting, row_of(measure))
    assert (str(cell), notes) == (MISSING, ["row: bare Python: is too small for that"])


def test_a_tool_that_hangs_is_killed_at_the_deadline(setting: Setting) -> None:
    started = []

    def measure(trial: Trial) -> list[float]:
        started.append(trial.run([sys.executable, "-c", "input()"], stdin=trial.pipe()[0]))
        started[-1].wait()
        return [1.0]

    cell, notes = contest(setting, row_of(measure))
    assert (str(cell), notes) == (WRONG, ["row: bare Python: not done within 0.5 s"])
    assert [process.wait().status for process in started] == [-9]


def test_a_connection_that_nobody_answers_ends_at_the_deadline(setting: Setting) -> None:
    def measure(trial: Trial) -> list[float]:
        listener, port = trial.listener()
        conn = trial.connect(port)
        return [len(conn.recv(1))]

    cell, notes = contest(setting, row_of(measure))
    assert (str(cell), notes) == (WRONG, ["row: bare Python: not done within 0.5 s"])


def test_other_bytes_than_were_sent_are_noticed(setting: Setting) -> None:
    check = setting.files.check
    with Trial(setting, {}, BARE, verifying=True) as trial:
        trial.drain(trial.open(check.path))
        spoilt = bytearray(check.path.read_bytes())
        spoilt[check.size // 2] ^= 1
        (setting.files.directory / "spoilt").write_bytes(spoilt)
        with pytest.raises(Wrong, match="other bytes"):
            trial.drain(trial.open("spoilt"))
        with pytest.raises(Wrong, match=f"of {check.size:,} bytes"):
            trial.drain(trial.open(os.devnull))


# -- The other end of a TLS connection


def peers(trial: Trial) -> tuple[Peer, socket.socket, Peer]:
    """The two ends of a connection, and the socket of the first."""
    certify(trial)
    near, far = map(trial.keep, socket.socketpair())
    server = trial.spawn(Peer, far, trial.files.directory)
    return Peer(near, trial.files.directory, client=True), near, server.result()


@pytest.mark.parametrize(
    "read",
    [lambda peer, payload: peer.verify(payload), lambda peer, payload: peer.count(payload.size) == payload.size],
    ids=["decrypted", "counted"],
)
def test_records_are_read_to_the_last_byte(setting: Setting, read: Callable[[Peer, Payload], object]) -> None:
    payload = setting.files.check
    with Trial(setting, {}, BARE, verifying=True) as trial:
        client, near, server = peers(trial)
        trial.spawn(trial.pour, near, client.encrypted(payload))
        assert read(server, payload) is not False


def test_records_are_counted_however_they_arrive(setting: Setting) -> None:
    with Trial(setting, {}, BARE, verifying=True) as trial:
        client, near, server = peers(trial)
        (path := trial.files.directory / "few").write_bytes(bytes(100_000))
        sent = client.encrypted(trial.files.check._replace(path=path)).path.read_bytes()

        def in_pieces() -> None:
            for at in range(0, len(sent), 997):
                near.sendall(sent[at : at + 997])
                os.sched_yield()

        trial.spawn(in_pieces)
        assert server.count(100_000) == 100_000


def test_a_transfer_over_tls_that_ends_too_early_is_noticed(setting: Setting) -> None:
    payload = setting.files.check
    for way in ("counted", "decrypted"):
        with Trial(setting, {}, BARE, verifying=True) as trial:
            client, near, server = peers(trial)
            encrypted = client.encrypted(payload)
            os.truncate(encrypted.path, encrypted.size - 100)
            trial.spawn(trial.pour, near, encrypted)
            if way == "counted":
                assert server.count(payload.size) < payload.size
            else:
                with pytest.raises(Wrong, match=f"of {payload.size:,} bytes"):
                    server.verify(payload)


def test_the_certificate_of_the_bench_is_made_once(setting: Setting) -> None:
    with Trial(setting, {}, BARE, verifying=True) as trial:
        certify(trial)
        made = (trial.files.directory / CERTIFICATE).read_bytes()
        assert b"PRIVATE KEY" in made
        assert b"CERTIFICATE" in made
        certify(trial)
        assert (trial.files.directory / CERTIFICATE).read_bytes() == made


# -- The readers of a hub


@pytest.mark.parametrize("attentive", [True, False])
def test_readers_have_heard_when_the_slowest_has(attentive: bool) -> None:
    speakers, readers = zip(*(socket.socketpair() for _ in range(3)), strict=True)
    audience = Audience(readers, attentive=attentive)
    for speaker in speakers:
        speaker.sendall(b"one\n")
    audience.hear(b"one\n")
    for speaker in speakers:
        speaker.sendall(b"two\nthree\n")
    audience.hear(b"two\nthree\n")
    for sock in (*speakers, *readers):
        sock.close()


@pytest.mark.parametrize(
    ("said", "why"),
    [(b"one\ntwq\n", "other words"), (b"one\ntwo\nmore", "other words"), (b"one\n", "cut a reader off")],
)
def test_a_reader_that_hears_anything_else_is_noticed(said: bytes, why: str) -> None:
    speaker, reader = socket.socketpair()
    with reader:
        with speaker:
            speaker.sendall(said)
        with pytest.raises(Wrong, match=why):
            Audience([reader], attentive=True).hear(b"one\ntwo\n")


def test_readers_that_hear_too_much_are_counted() -> None:
    speaker, reader = socket.socketpair()
    with speaker, reader:
        speaker.sendall(b"one\ntwo\nmore")
        with pytest.raises(Wrong, match="1 of 1 readers"):
            Audience([reader], attentive=False).hear(b"one\ntwo\n")


def test_a_port_is_known_to_be_listened_on() -> None:
    for kind, protocol in ((socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")):
        with socket.socket(socket.AF_INET, kind) as sock:
            sock.bind((commands.HOST, 0))
            if protocol == "tcp":
                assert sock.getsockname()[1] not in bound_ports(protocol)
                sock.listen()
            assert sock.getsockname()[1] in bound_ports(protocol)
        assert 0 < free_port(kind) < 65536


# -- The program


def test_the_rows_can_be_listed(tmp_path: Path) -> None:
    listed = bench("--list", directory=tmp_path)
    assert [text.split()[0] for text in listed.out.decode().splitlines()] == NAMES
    assert (listed.status, listed.err) == (0, "")


def test_an_unknown_row_is_an_error_that_names_it(tmp_path: Path) -> None:
    asked = bench("--only", "file-net,nonsense", directory=tmp_path)
    assert (asked.status, asked.out) == (2, b"")
    assert "no such row: nonsense" in asked.err


def test_it_measures_pync_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = set(Path("/dev/shm").iterdir())
    asked = ("--quick", "--only", "file-net,start", "--json", "found.json", "--plot", "found.svg", "--markdown")
    done = bench(*asked, directory=tmp_path)
    assert (done.status, done.err) == (0, ""), done
    record = json.loads((tmp_path / "found.json").read_text())
    assert [figure["row"] for figure in record["figures"]] == ["file-net", "file-net", "start"]
    for figure in record["figures"]:
        assert figure["tools"][PYNC]["median"] > 0, record["notes"]
        assert len(figure["tools"][BARE]["rounds"]) == 1
        absent = {tool for tool in TOOLS if not shutil.which(tool)} - {PYNC, BARE}
        assert not absent & figure["tools"].keys()
    table = re.findall(r"^\| (.+?) \|", done.out.decode(), re.MULTILINE)
    assert table[-3:] == ["file → net", "file → net, peak memory", "start to probe a port"]
    picture = (tmp_path / "found.svg").read_text()
    assert "<svg" in picture
    assert "<script" not in picture
    assert {path.name for path in tmp_path.iterdir()} == {"found.json", "found.svg"}
    made = {path for path in set(Path("/dev/shm").iterdir()) - before if path.name.startswith("pync-bench-")}
    until = time.monotonic() + 30
    while any(path.exists() for path in made) and time.monotonic() < until:  # those of other tests go with them
        os.sched_yield()
    assert not any(path.exists() for path in made)


def test_pync_is_right_in_what_only_some_tools_can_do(tmp_path: Path) -> None:
    (programs := tmp_path / "bin").mkdir()  # where no other tool is, whose time it would take
    (programs / "openssl").symlink_to(require("openssl"))
    asked = [name for name in NAMES if name.startswith(("tls-", "forward", "proxy", "hub-"))]
    done = bench("--quick", "--only", ",".join(asked), "--json", "found.json", directory=tmp_path, PATH=str(programs))
    assert (done.status, done.err) == (0, ""), done
    record = json.loads((tmp_path / "found.json").read_text())
    assert {figure["row"] for figure in record["figures"]} == set(asked)
    assert len(asked) == 9
    for figure in record["figures"]:
        assert figure["tools"][PYNC]["median"] > 0, record["notes"]


def test_it_says_at_once_that_a_readme_has_no_place_for_the_table(tmp_path: Path) -> None:
    copy = tmp_path / "scripts" / "lib" / "bench"
    shutil.copytree(ROOT / "scripts" / "lib" / "bench", copy)
    (tmp_path / "README.md").write_text("nothing")
    asked = run([sys.executable, "-I", str(copy), "--readme"])
    assert (asked.status, asked.out) == (1, b"")
    assert asked.err.startswith("scripts/bench: README.md: the lines ")
    assert (tmp_path / "README.md").read_text() == "nothing"


def test_it_ends_what_it_has_started_when_it_is_asked_to_end(tmp_path: Path) -> None:
    program = [sys.executable, "-I", str(ROOT / "scripts" / "lib" / "bench"), "--only", "exec", "--rounds", "1000"]
    with Running(program, env={**os.environ, "TMPDIR": str(tmp_path)}) as asked:
        children: list[int] = []
        until = time.monotonic() + 20
        while not children and time.monotonic() < until:
            children = asked.children()
        assert children, "nothing was started"
        asked.signal(signal.SIGTERM)
        assert asked.wait() == 143
        assert not [pid for pid in children if lives_on(pid, DEADLINE)]


def test_the_script_explains_itself() -> None:
    text = (ROOT / "scripts" / "bench").read_text()
    for option in re.findall(r"(--[a-z]+)", bench("--help", directory=ROOT).out.decode()):
        assert option in text or option == "--help"
