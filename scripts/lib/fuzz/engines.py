"""Looking for an input with which one target fails, in this process, until the time is up.

Atheris mutates the inputs that reach new lines of pync and of h11, for millions of rounds. Hypothesis knows nothing of
lines; it joins and cuts the seeds, and makes the failing input short.

Must never import pync before Atheris can watch the import.
"""

import re
import sys
import time
import traceback
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, NoReturn

from fuzz import Target

LONGEST = 2048  # bytes of an input
SLOWEST = 20  # seconds that a target may take for one input
ROUND = 2000  # inputs of Hypothesis until the next look at the clock
EXECUTED = "stat::number_of_executed_units:"  # libFuzzer's words for the number of inputs
KEPT = ("crash", "timeout", "oom", "leak")  # the names of the files in which it keeps an input that fails
MODULES = ("dialogues", "streams", "texts", "names", "websocket")


class Finding(NamedTuple):
    """What a search came to."""

    inputs: int
    failing: bytes | None  # the input with which the target fails


def guided() -> bool:
    """Whether Atheris is installed."""
    return find_spec("atheris") is not None


def targets() -> dict[str, Target]:
    """All targets by their names."""
    return {name: target for module in MODULES for name, target in import_module(f"fuzz.{module}").TARGETS.items()}


def search_guided(name: str, seconds: int, seed: int, folder: Path) -> NoReturn:
    """Search with Atheris, and end this process."""
    import atheris

    with atheris.instrument_imports(include=["pync", "h11"], enable_loader_override=False):
        target = targets()[name]
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, given in enumerate(target.seeds):
        (corpus / f"{number:03}").write_bytes(given)
    limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-timeout={SLOWEST}", f"-seed={seed}"]
    options = [f"-artifact_prefix={folder}/", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, *options, str(corpus)], target.run)
    atheris.Fuzz()
    sys.exit()  # not reached: libFuzzer ends the process


def search_unguided(name: str, seconds: int, seed: int, folder: Path) -> NoReturn:
    """Search with Hypothesis, and end this process."""
    import hypothesis
    from hypothesis import HealthCheck, strategies

    target = targets()[name]
    seeds = strategies.sampled_from(target.seeds)
    part = strategies.builds(lambda seed, start, end: seed[start:end], seeds, *[strategies.integers(-40, 40)] * 2)
    inputs = strategies.lists(strategies.one_of(seeds, part, strategies.binary(max_size=20)), max_size=6).map(b"".join)
    rules = hypothesis.settings(
        max_examples=ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    count, last = 0, b""

    @rules
    @hypothesis.given(inputs)
    def law(data: bytes) -> None:
        nonlocal count, last
        count, last = count + 1, data
        target.run(data)

    until, status = time.monotonic() + seconds, 0
    while time.monotonic() < until and not status:
        try:
            hypothesis.seed(seed + count)(law)()
        except BaseException:
            traceback.print_exc()
            # The last input that Hypothesis tries is the shortest that fails.
            (folder / "crash-input").write_bytes(last)
            status = 1
    print(f"{EXECUTED} {count}", file=sys.stderr)
    sys.exit(status)


def finding(said: str, folder: Path) -> Finding:
    """What a search has found that used this folder and has printed this."""
    # libFuzzer prints a sum at its end, and before that a line for each new input.
    executed = re.search(rf"{EXECUTED}\s*(\d+)", said) or re.search(r"(?s:.*)^#(\d+)\t", said, re.MULTILINE)
    kept = [path for kind in KEPT for path in folder.glob(f"{kind}-*")]
    return Finding(int(executed[1]) if executed else 0, kept[0].read_bytes() if kept else None)
