"""What every test module gets: the fixtures of the process tests and the settings of Hypothesis."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("harness", "conformance")

from certificates import Authority  # noqa: E402 (after the line above)
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A busy machine is no counterexample: pytest's time limit is the only one.
settings.register_profile("pync", deadline=None, print_blob=True)
settings.load_profile("pync")


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
