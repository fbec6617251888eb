"""What every test module gets: tests that are coroutines, the fixtures of the process tests, Hypothesis' settings.

A test may be `async def`. It is then the main task of a loop of its own, which it asks for by an argument:

- `loop` is a `Loop` whose time jumps to the next timer where it would sleep; `clock` is the `Clock` that it goes by.
- `real_loop` is a `Bench`: its time is real, and at the end it checks that no registration and no descriptor is left.

A test that runs several loops, or looks at what a loop leaves behind, is a plain function that calls `play` or `bench`.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("harness", "conformance", "conversations", "ends", "expectations", "loopback")

from certificates import Authority  # noqa: E402 (after the line above)
from conformance import bench  # noqa: E402 (after the line above)
from doubles import play  # noqa: E402 (after the line above)
from harness import (  # noqa: E402 (after the line above)
    COPYING,
    PYNC,
    UPPER_C,
    UPPER_PY,
    Running,
    announced,
    require,
    run,
)
from loopback import ANY_FAMILY, Names  # noqa: E402 (after the line above)
from taken_away import taken_away  # noqa: E402 (after the line above)

from pync import system  # noqa: E402 (after the line above)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pync.loop.kernel import Loop
    from pync.loop.tasks import Work

# A busy machine is no counterexample: pytest's time limit is the only one.
settings.register_profile("pync", deadline=None, print_blob=True)
settings.load_profile("pync")


@pytest.fixture(scope="session")
def loop() -> None:
    """The place of a `Loop`, which `on_a_loop` fills.

    Not the loop itself: each example of a Hypothesis test needs a new one, and a fixture is made once for all of them.
    """


@pytest.fixture(scope="session")
def clock() -> None:
    """The place of the clock of `loop`."""


@pytest.fixture(scope="session")
def real_loop() -> None:
    """The place of a `Bench`."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Have pytest call a test that is a coroutine function as if it was a plain one."""
    test = pyfuncitem.obj
    if hasattr(test, "hypothesis"):  # Hypothesis calls the inner test, once for each example
        if inspect.iscoroutinefunction(test.hypothesis.inner_test):
            test.hypothesis.inner_test = on_a_loop(test.hypothesis.inner_test)
    elif inspect.iscoroutinefunction(test):
        pyfuncitem.obj = on_a_loop(test)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that are about a feature which this run has to do without."""
    away = taken_away()
    left_out = [item for item in items if away & {name for mark in item.iter_markers("needs") for name in mark.args}]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def on_a_loop(test: Callable[..., Work[None]]) -> Callable[..., None]:
    """The coroutine function `test` as a plain function, which runs it on a new loop each time it is called."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        def main(loop: Loop) -> Work[None]:
            made = {"loop": loop, "clock": loop.clock, "real_loop": loop}
            return test(*args, **{name: made.get(name, value) for name, value in kwargs.items()})

        bench(main) if "real_loop" in kwargs else play(main)

    return run


@pytest.fixture(scope="session")
def upper_c(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Running]:
    """Starts the upper-case server in C on an ephemeral port: `with upper_c() as server: … server.port`."""
    program = tmp_path_factory.mktemp("upper") / "upper"
    source = program.with_suffix(".c")
    source.write_text(UPPER_C)
    built = run([require("cc"), "-Wall", "-Werror", "-o", str(program), str(source)])
    assert built.status == 0, built.err
    return lambda: announced(Running([str(program)]))


@pytest.fixture(scope="session")
def upper_py() -> Callable[[], Running]:
    """Starts the upper-case server in Python on an ephemeral port."""
    return lambda: announced(Running([sys.executable, "-c", UPPER_PY]))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Certificates of every kind, and the authority that issued them."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """The addresses of names, for a test to fill: known at once, without a thread that would not see time jump."""
    table: Names = {}
    real = system.socket.getaddrinfo

    def getaddrinfo(host: str | bytes | None, port: int, family: int = 0, kind: int = 0, *rest: int) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in table:
            return real(host, port, family, kind, *rest)
        found = [item for one in table[name] for item in real(one, port, 0, kind)]
        return [item for item in found if family in (ANY_FAMILY, item[0])]

    monkeypatch.setattr(system.socket, "getaddrinfo", getaddrinfo)
    return table


@pytest.fixture
def no_leak() -> Iterator[None]:
    """No descriptor is left open."""
    before = os.listdir("/proc/self/fd")
    yield
    assert sorted(os.listdir("/proc/self/fd")) == sorted(before)


@pytest.fixture(params=["moved by the kernel", "copied"])
def either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """The pync that a test starts moves the bytes either way, and the test must not see which: it runs twice.

    The command line is changed in place, for every module that has imported it.
    """
    usual = PYNC[:]
    if request.param == "copied":
        PYNC[:] = COPYING
    yield
    PYNC[:] = usual
