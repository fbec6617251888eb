"""scripts/bench: its arithmetic and wording, its verdict on tools that fail, and a run in small sizes.

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
from typing import TYPE_CHECKING, NamedTuple

import pytest
from harness import DEADLINE, Result, Running, require, run
from hypothesis import given
from hypothesis import strategies as st
from pairs import lives_on

ROOT = Path(__file__).parent.parent.parent
sys.path.append(str(ROOT / "scripts" / "lib"))

from bench import Unable, Wrong, report, rounds  # noqa: E402 (found by the line above)
from bench.commands import BARE, COMMANDS, HOST, PYNC, TOOLS, argv  # noqa: E402
from bench.crowds import Readers  # noqa: E402
from bench.figures import MISSING, WRONG, Cell, Figure, Goal, Line, Verdict, number  # noqa: E402
from bench.process import bound_ports, free_port, port_of  # noqa: E402
from bench.rows import NAMES, ROWS, TABLE, Row  # noqa: E402
from bench.setting import QUICK, prepared  # noqa: E402
from bench.tls import CERTIFICATE, Peer, certify  # noqa: E402
from bench.trial import Trial  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.setting import Payload, Setting

FASTER = Figure("a transfer", "MB/s", (Goal(2.5, "nc.openbsd"), Goal(0.75, BARE)))
LESS = Figure("a start", "ms", (Goal(0.4, "ncat"),), less=True)
WHERE = report.Circumstances(
    rounds=5,
    bulk=1 << 30,
    date="2001-02-03",
    processor="a processor",
    cores=2,
    kernel="a kernel",
    python="a Python",
)


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
    assert str(cell) == WRONG
    assert cell.median is None


def test_a_ratio_needs_both_figures() -> None:
    (goal,) = LESS.goals
    assert line(LESS, pync=6, ncat=3).measured(goal) == 2
    for incomplete in line(LESS, ncat=3), line(LESS, pync=6), line(LESS, pync=6, ncat=0):
        assert incomplete.measured(goal) is None


def test_a_goal_is_a_ratio_that_must_be_reached() -> None:
    assert line(FASTER, pync=250, openbsd=100, bare=500).verdict() == Verdict(
        ratios="2.50 × nc.openbsd, 0.50 × bare Python",
        goals="≥ 2.5, ≥ 0.75",
        reached="yes, no",
    )


def test_where_less_is_better_the_bound_is_an_upper_one() -> None:
    verdict = Verdict(ratios="0.40 × ncat", goals="≤ 0.4", reached="yes")
    assert line(LESS, pync=40, ncat=100).verdict() == verdict
    assert line(LESS, pync=41, ncat=100).verdict().reached == "no"


def test_a_goal_without_another_tool_is_for_the_figure_itself() -> None:
    clients = Figure("clients", "", (Goal(10_000),))
    assert line(clients, pync=10_000).verdict() == Verdict(ratios="10,000", goals="≥ 10,000", reached="yes")
    assert line(clients, pync=9_999).verdict().reached == "no"


def test_a_goal_is_missed_if_pync_is_wrong_and_unknown_if_the_other_is_missing() -> None:
    assert line(LESS, pync=40).verdict() == Verdict(ratios=MISSING, goals="≤ 0.4", reached=MISSING)
    wrong = Line("row", LESS, {PYNC: Cell([40], wrong="stuck"), "ncat": Cell([100])})
    assert wrong.verdict() == Verdict(ratios=MISSING, goals="≤ 0.4", reached="no")


def test_a_figure_without_a_goal_has_an_empty_verdict() -> None:
    assert line(Figure("memory", "MB"), pync=40).verdict() == Verdict(ratios="", goals="", reached="")


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


def test_the_document_gets_the_block_between_its_markers_and_nothing_else() -> None:
    document = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.put_between_markers(document, "new\n")
    assert once == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    assert report.put_between_markers(once, "new\n") == once


@pytest.mark.parametrize("document", ["", report.BEGIN, report.END, f"{report.END} {report.BEGIN}"])
def test_a_document_without_markers_is_left_alone(document: str) -> None:
    with pytest.raises(ValueError, match="missing"):
        report.put_between_markers(document, "new")


def test_the_block_names_when_where_and_how_it_was_measured() -> None:
    block = report.block([line(LESS, pync=1)], WHERE, "bench.svg")
    for fact in "2001-02-03", "a processor", "2 cores", "a kernel", "a Python", "5 rounds", "scripts/bench --write":
        assert fact in block
    assert "](bench.svg)" in block


def test_the_published_table_has_the_lines_that_are_measured() -> None:
    block = (ROOT / "scripts" / "bench.md").read_text().partition(report.BEGIN)[2].partition(report.END)[0]
    _, _, *titles = re.findall(r"^\| +([^|]*?) *\|", block, re.MULTILINE)
    assert titles == [figure.title for row in ROWS for figure in row.figures]


# -- The rows


def test_every_row_has_a_name_and_lines_of_its_own() -> None:
    titles = [figure.title for row in ROWS for figure in row.figures]
    assert len(set(NAMES)) == len(NAMES)
    assert len(set(titles)) == len(titles)


def test_the_columns_of_the_table_are_the_tools() -> None:
    heads = TABLE.split("check")[0].split()[3:-1]
    assert [head in tool for head, tool in zip(heads, TOOLS[1:], strict=True)] == [True] * len(heads)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_measures_pync_and_the_tools_that_its_goals_name(row: Row) -> None:
    against = {goal.against for figure in row.figures for goal in figure.goals if goal.against}
    assert {PYNC, *against} <= row.commands.keys() <= set(TOOLS)


@pytest.mark.parametrize("use", COMMANDS)
def test_everything_stays_on_the_loopback(use: str) -> None:
    for tool in COMMANDS[use].keys() - {BARE}:
        assert HOST in " ".join(argv(COMMANDS[use][tool], 1))


# -- Trials

TOO_LATE = "not done within 0.1 s"


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    with prepared(QUICK) as setting:
        yield setting


@pytest.fixture
def impatient(setting: Setting) -> Setting:
    """A setting for measurements that never end by themselves: they only wait for the deadline."""
    return setting._replace(scale=setting.scale._replace(deadline=0.1))


class Outcome(NamedTuple):
    """The result of a contest of the one tool that is always there."""

    cell: Cell
    notes: list[str]


def contest(setting: Setting, measure: Callable[[Trial], list[float]], *, verified: bool = False) -> Outcome:
    row = Row("row", measure, {BARE: "python -c pass"}, [Figure("a figure", "")], verified)
    found = rounds.run([row], setting, 2)
    (measured,) = found.lines
    return Outcome(measured.cells[BARE], found.notes)


def test_a_tool_is_measured_once_a_round_after_it_was_verified(setting: Setting) -> None:
    seen = []

    def measure(trial: Trial) -> list[float]:
        seen.append(trial.verifying)
        return [len(seen)]

    outcome = contest(setting, measure, verified=True)
    assert outcome == Outcome(Cell([2, 3]), notes=[])
    assert seen == [True, False, False]


def test_a_tool_that_is_wrong_once_has_no_figure(setting: Setting) -> None:
    def measure(trial: Trial) -> list[float]:
        if not trial.verifying:
            raise Wrong("delivered nothing")
        return [1.0]

    outcome = contest(setting, measure, verified=True)
    assert outcome == Outcome(Cell([], wrong="delivered nothing"), ["row: bare Python: delivered nothing"])


def test_a_tool_that_cannot_do_it_is_not_wrong(setting: Setting) -> None:
    def measure(trial: Trial) -> list[float]:
        raise Unable("is too small for that")

    outcome = contest(setting, measure)
    assert outcome == Outcome(Cell([]), ["row: bare Python: is too small for that"])


def test_a_tool_that_comes_only_so_far_keeps_that_figure(setting: Setting) -> None:
    def measure(trial: Trial) -> list[float]:
        raise Unable("took 7 of 9 clients", 7)

    outcome = contest(setting, measure)
    assert outcome == Outcome(Cell([7]), ["row: bare Python: took 7 of 9 clients"])


def test_a_tool_that_hangs_is_killed_at_the_deadline(impatient: Setting) -> None:
    started = []

    def measure(trial: Trial) -> list[float]:
        started.append(trial.run([sys.executable, "-c", "input()"], stdin=trial.pipe()[0]))
        started[-1].wait()
        return [1.0]

    outcome = contest(impatient, measure)
    assert outcome == Outcome(Cell([], wrong=TOO_LATE), [f"row: bare Python: {TOO_LATE}"])
    assert [process.wait().status for process in started] == [-signal.SIGKILL]


def test_a_connection_without_an_answer_ends_at_the_deadline(impatient: Setting) -> None:
    def measure(trial: Trial) -> list[float]:
        conn = trial.keep(socket.create_connection(trial.listener().getsockname()))
        return [len(conn.recv(1))]

    outcome = contest(impatient, measure)
    assert outcome == Outcome(Cell([], wrong=TOO_LATE), [f"row: bare Python: {TOO_LATE}"])


def test_other_bytes_than_were_sent_are_noticed(setting: Setting) -> None:
    check = setting.check
    with Trial(setting, {}, BARE, verifying=True) as trial:
        trial.drain(trial.open(check.path))
        spoilt = bytearray(check.path.read_bytes())
        spoilt[check.size // 2] ^= 1
        (setting.directory / "spoilt").write_bytes(spoilt)
        with pytest.raises(Wrong, match="other bytes"):
            trial.drain(trial.open("spoilt"))
        with pytest.raises(Wrong, match=f"of {check.size:,} bytes"):
            trial.drain(trial.open(os.devnull))


# -- The other end of a TLS connection


class Connection(NamedTuple):
    """A connection over TLS: its two ends, and the socket of the client."""

    client: Peer
    socket: socket.socket
    server: Peer


def connection(trial: Trial) -> Connection:
    certify(trial)
    near, far = map(trial.keep, socket.socketpair())
    server = trial.spawn(Peer, far, trial.directory)
    return Connection(Peer(near, trial.directory, client=True), near, server.result())


def decrypt(server: Peer, payload: Payload) -> None:
    payload.check(server.decrypted())


def count(server: Peer, payload: Payload) -> None:
    payload.check_size(server.count(payload.size))


@pytest.mark.parametrize("read", [decrypt, count])
def test_records_are_read_to_the_last_byte(setting: Setting, read: Callable[[Peer, Payload], None]) -> None:
    with Trial(setting, {}, BARE, verifying=True) as trial:
        conn = connection(trial)
        trial.spawn(conn.client.encrypted(setting.check).pour, conn.socket)
        read(conn.server, setting.check)


def test_records_are_counted_however_they_arrive(setting: Setting) -> None:
    with Trial(setting, {}, BARE, verifying=True) as trial:
        conn = connection(trial)
        (path := trial.directory / "few").write_bytes(bytes(100_000))
        sent = conn.client.encrypted(setting.check._replace(path=path)).path.read_bytes()

        def in_pieces() -> None:
            for at in range(0, len(sent), 997):
                conn.socket.sendall(sent[at : at + 997])
                os.sched_yield()

        trial.spawn(in_pieces)
        assert conn.server.count(100_000) == 100_000


@pytest.mark.parametrize("read", [decrypt, count])
def test_a_transfer_over_tls_that_ends_too_early_is_noticed(
    setting: Setting, read: Callable[[Peer, Payload], None]
) -> None:
    with Trial(setting, {}, BARE, verifying=True) as trial:
        conn = connection(trial)
        encrypted = conn.client.encrypted(setting.check)
        os.truncate(encrypted.path, encrypted.size - 100)
        trial.spawn(encrypted.pour, conn.socket)
        with pytest.raises(Wrong, match=f"of {setting.check.size:,} bytes"):
            read(conn.server, setting.check)


def test_the_certificate_of_the_bench_is_made_once(setting: Setting) -> None:
    with Trial(setting, {}, BARE, verifying=True) as trial:
        certify(trial)
        made = (trial.directory / CERTIFICATE).read_bytes()
        assert b"PRIVATE KEY" in made
        assert b"CERTIFICATE" in made
        certify(trial)
        assert (trial.directory / CERTIFICATE).read_bytes() == made


# -- The readers of a hub


@pytest.mark.parametrize("comparing", [True, False])
def test_readers_have_received_a_text_when_the_slowest_has(comparing: bool) -> None:
    senders, sockets = zip(*(socket.socketpair() for _ in range(3)), strict=True)
    readers = Readers(sockets, comparing=comparing)
    for text in b"one\n", b"two\nthree\n":
        for sender in senders:
            sender.sendall(text)
        readers.receive(text)
    for sock in (*senders, *sockets):
        sock.close()


@pytest.mark.parametrize(
    ("sent", "why"),
    [(b"one\ntwq\n", "other bytes"), (b"one\ntwo\nmore", "other bytes"), (b"one\n", "cut a reader off")],
)
def test_a_reader_that_receives_anything_else_is_noticed(sent: bytes, why: str) -> None:
    sender, reader = socket.socketpair()
    with reader:
        with sender:
            sender.sendall(sent)
        with pytest.raises(Wrong, match=why):
            Readers([reader], comparing=True).receive(b"one\ntwo\n")


def test_readers_that_receive_too_much_are_counted() -> None:
    sender, reader = socket.socketpair()
    with sender, reader:
        sender.sendall(b"one\ntwo\nmore")
        with pytest.raises(Wrong, match="1 of 1 readers"):
            Readers([reader], comparing=False).receive(b"one\ntwo\n")


# -- Ports


def test_a_tcp_port_is_bound_when_a_socket_listens_on_it() -> None:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        assert port_of(sock) not in bound_ports("tcp")
        sock.listen()
        assert port_of(sock) in bound_ports("tcp")


def test_a_udp_port_is_bound_as_soon_as_a_socket_has_it() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        assert port_of(sock) in bound_ports("udp")


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_free_port_is_one_that_can_be_bound(protocol: str) -> None:
    assert 0 < free_port(protocol) < 65536


# -- The program


def test_the_rows_can_be_listed(tmp_path: Path) -> None:
    listed = bench("--list", directory=tmp_path)
    assert listed == Result(0, listed.out, "")
    assert [text.split()[0] for text in listed.out.decode().splitlines()] == NAMES


def test_an_unknown_row_is_an_error_that_names_it(tmp_path: Path) -> None:
    refused = bench("--only", "file-net,nonsense", directory=tmp_path)
    assert refused == Result(2, b"", refused.err)
    assert "no such row: nonsense" in refused.err


@pytest.mark.parametrize("number", ["0", "-1", "x"])
def test_a_number_of_rounds_must_be_positive(tmp_path: Path, number: str) -> None:
    refused = bench("--rounds", number, directory=tmp_path)
    assert refused == Result(2, b"", refused.err)
    assert number in refused.err


def test_it_measures_pync_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = set(Path("/dev/shm").iterdir())
    options = ("--quick", "--only", "file-net,start", "--json", "found.json", "--plot", "found.svg", "--markdown")
    done = bench(*options, directory=tmp_path)
    assert done == Result(0, done.out, "")
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
    names = [name for name in NAMES if name.startswith(("portions", "tls-", "forward", "proxy", "hub-"))]
    done = bench("--quick", "--only", ",".join(names), "--json", "found.json", directory=tmp_path, PATH=str(programs))
    assert done == Result(0, done.out, "")
    record = json.loads((tmp_path / "found.json").read_text())
    assert {figure["row"] for figure in record["figures"]} == set(names)
    assert len(names) == 10
    for figure in record["figures"]:
        assert figure["tools"][PYNC]["median"] > 0, record["notes"]


def copied(directory: Path, document: str) -> Path:
    """The program in a tree of its own, with that text as scripts/bench.md."""
    copy = directory / "scripts" / "lib" / "bench"
    shutil.copytree(ROOT / "scripts" / "lib" / "bench", copy)
    (directory / "scripts" / "bench.md").write_text(document)
    return copy


def test_it_writes_the_table_and_the_plot_beside_the_script(tmp_path: Path) -> None:
    program = copied(tmp_path, f"before\n{report.BEGIN}\n{report.END}\nafter\n")
    done = run([sys.executable, "-I", str(program), "--quick", "--only", "start", "--write"])
    assert done == Result(0, done.out, "")
    document = (tmp_path / "scripts" / "bench.md").read_text()
    assert document.startswith(f"before\n{report.BEGIN}\nMeasured by `scripts/bench --write`: ")
    assert document.endswith(f"](bench.svg)\n{report.END}\nafter\n")
    assert "\n| start to probe a port | ms | " in document
    assert "<svg" in (tmp_path / "scripts" / "bench.svg").read_text()


def test_a_document_without_a_place_for_the_table_is_an_error_at_once(tmp_path: Path) -> None:
    refused = run([sys.executable, "-I", str(copied(tmp_path, "nothing")), "--write"])
    assert refused == Result(1, b"", refused.err)
    assert refused.err.startswith("scripts/bench: bench.md: the lines ")
    assert (tmp_path / "scripts" / "bench.md").read_text() == "nothing"


def test_it_ends_what_it_has_started_when_it_is_asked_to_end(tmp_path: Path) -> None:
    program = [sys.executable, "-I", str(ROOT / "scripts" / "lib" / "bench"), "--only", "exec", "--rounds", "1000"]
    with Running(program, env={**os.environ, "TMPDIR": str(tmp_path)}) as measuring:
        children: list[int] = []
        until = time.monotonic() + 20
        while not children and time.monotonic() < until:
            children = measuring.children()
        assert children, "nothing was started"
        measuring.signal(signal.SIGTERM)
        assert measuring.wait() == 143
        assert not [pid for pid in children if lives_on(pid, DEADLINE)]


def test_the_script_explains_itself() -> None:
    text = (ROOT / "scripts" / "bench").read_text()
    for option in re.findall(r"(--[a-z]+)", bench("--help", directory=ROOT).out.decode()):
        assert option in text or option == "--help"
