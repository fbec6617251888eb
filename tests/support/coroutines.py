"""Small coroutines for the tests of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pync.loop.tasks import Condition

if TYPE_CHECKING:
    from pync.loop.kernel import Loop


async def forever(loop: Loop) -> None:
    await loop.wait(Condition())


async def value(result: int) -> int:
    return result


async def fail(error: BaseException) -> None:
    raise error


async def after(loop: Loop, seconds: float, result: int = 0, error: BaseException | None = None) -> int:
    await loop.sleep(seconds)
    if error:
        raise error
    return result
