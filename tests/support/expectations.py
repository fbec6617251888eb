"""Looking at several facts of a thing at once, each by its name."""

from __future__ import annotations


def expect(thing: object, **facts: object) -> None:
    """Check attributes of a thing, and what its methods without arguments return: `expect(flow, moved=3, unsent=0)`."""
    assert {name: _fact(thing, name) for name in facts} == facts


def _fact(thing: object, name: str) -> object:
    fact = getattr(thing, name)
    return fact() if callable(fact) else fact
