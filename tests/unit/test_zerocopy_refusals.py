"""What the kernel refuses to move is copied, and an error in the middle is reported as copying would."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from conformance import Bench, join, turns
from ends import BYTES, closing, everything, only_by_kernel, peer_of, stalled, stdin_of, stdout_of

from pync.endpoints.file_source import FileSource
from pync.endpoints.stdio import Stdin
from pync.errors import InputError, OutputClosed, PeerLost
from pync.loop.tasks import Condition
from pync.relay.flow import Flow
from pync.relay.zerocopy import Unsuitable, mover_between

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pairs import Pair

    Role = Callable[..., AbstractContextManager[Pair]]


@pytest.mark.parametrize("kind", ["appended file", "/dev/full"])
async def test_a_target_that_the_kernel_refuses_is_refused_before_the_first_byte(real_loop: Bench, kind: str) -> None:
    with stdout_of(real_loop, kind) as (stdout, _, file), peer_of(real_loop) as (endpoint, far):
        await far.give(b"data")
        await real_loop.readable(endpoint.sock.fileno())
        mover = mover_between(real_loop, endpoint, stdout)
        assert mover
        with pytest.raises(Unsuitable):
            mover.step()
        mover.close()
        assert await endpoint.read() == b"data"
        assert not file or file.read() == b""
        await stdout.send_eof()


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
async def test_whatever_the_refusal_is_called_the_bytes_are_copied(
    real_loop: Bench, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "sendfile", refuse)
    with stdin_of(real_loop, "file", b"data") as (stdin, _), peer_of(real_loop) as (endpoint, far):
        await Flow(real_loop, stdin, endpoint).run()
        assert await everything(far) == b"data"


async def test_a_refusal_after_the_first_byte_is_an_error(real_loop: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.sendfile

    def move_once(out: int, source: int, position: int | None, size: int) -> int:
        if os.lseek(source, 0, os.SEEK_CUR):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return really(out, source, position, 2)

    monkeypatch.setattr(os, "sendfile", move_once)
    scene = stdin_of(real_loop, "file", b"data"), peer_of(real_loop)
    with scene[0] as (stdin, _), scene[1] as (endpoint, _), pytest.raises(PeerLost, match="Invalid argument"):
        await Flow(real_loop, stdin, endpoint).run()


async def test_a_file_that_cannot_be_read_is_an_input_error(real_loop: Bench, tmp_path: Path) -> None:
    fd = os.open(tmp_path / "write-only", os.O_WRONLY | os.O_CREAT)
    with closing(fd), peer_of(real_loop) as (endpoint, _):
        for source in (Stdin(real_loop, fd), FileSource(real_loop, fd, 0)):
            with pytest.raises(InputError, match="^reading stdin: Bad file descriptor$"):
                await Flow(real_loop, source, endpoint).run()


async def test_a_disk_that_fails_in_the_middle_is_an_input_error(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with stdin_of(real_loop, "file", BYTES) as (stdin, _), peer_of(real_loop) as (endpoint, far):
        flow = Flow(real_loop, stdin, endpoint)
        flowing = real_loop.spawn(flow.run(), Condition())
        await stalled(real_loop, flow)
        with monkeypatch.context() as patch:
            patch.setattr(os, "sendfile", fail)
            patch.setattr(os, "read", fail)
            taking = real_loop.spawn(real_loop.readable(far.sock.fileno()), Condition())
            await join(real_loop, taking)
            while not flowing.done:
                far.sock.recv(1 << 16)
                await real_loop.sleep(0.001)
        with pytest.raises(InputError, match="^reading stdin: Input/output error$"):
            flowing.result()


async def test_a_stdout_without_reader_does_not_matter_at_the_peers_end_and_does_before(real_loop: Bench) -> None:
    async def flow_without_a_reader(loop: Bench, data: bytes) -> None:
        with stdout_of(loop, "pipe") as (stdout, reader, _), peer_of(loop) as (endpoint, far):
            assert reader
            flowing = loop.spawn(Flow(loop, endpoint, stdout).run(), Condition())
            await turns(loop, 5)
            reader.close()
            await far.give(data)
            far.hang_up()
            try:
                await join(loop, flowing)
            finally:
                await stdout.send_eof()

    await flow_without_a_reader(real_loop, b"")
    with pytest.raises(OutputClosed, match="^writing stdout: Broken pipe$"):
        await flow_without_a_reader(real_loop, b"unread")


async def test_without_a_descriptor_for_a_pipe_of_our_own_the_bytes_are_copied(
    real_loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> tuple[int, int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with stdout_of(real_loop, "file") as (stdout, _, file), peer_of(real_loop) as (endpoint, far):
        assert file
        await far.give(b"data")
        far.hang_up()
        with monkeypatch.context() as patch:
            patch.setattr(os, "pipe", refuse)
            await Flow(real_loop, endpoint, stdout).run()
        assert file.read() == b"data"


@pytest.mark.parametrize("how", ["end", "cancel", "loss"])
async def test_the_pipe_of_our_own_is_closed_however_the_flow_ends(real_loop: Bench, how: str) -> None:
    with (
        only_by_kernel(),
        stdout_of(real_loop, "/dev/null") as (stdout, _, _),
        peer_of(real_loop) as (endpoint, far),
    ):
        flow = Flow(real_loop, endpoint, stdout)
        flowing = real_loop.spawn(flow.copy(), Condition())
        await far.give(b"data")
        await turns(real_loop, 5)
        assert flow.moved == 4
        if how == "end":
            far.hang_up()
            await join(real_loop, flowing)
        elif how == "cancel":
            await real_loop.cancel_and_wait(flowing)
        else:
            far.leave()
            with pytest.raises(PeerLost, match="Connection reset by peer"):
                await join(real_loop, flowing)
        await stdout.send_eof()
