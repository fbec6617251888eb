"""Which targets a proxy's clients get: the rules, and that only an address that was checked is connected to."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from doubles import a_context

from pync.config import Access
from pync.connections import permitted
from pync.connections.permitted import NotPermitted, open_permitted
from pync.errors import ConnectError, UsageError
from pync.net.access import Rules
from pync.net.targets import target_rules

if TYPE_CHECKING:
    from typing import Any

    from conformance import Bench

    from pync.context import Context
    from pync.events import Event

LOCAL = ["127.0.0.1", "127.255.3.4", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1", "febf::1%eth0"]
UNSPECIFIED = ["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0"]
OTHERS = ["192.0.2.1", "10.0.0.1", "2001:db8::1", "fec0::1", "::2", "126.255.255.255", "128.0.0.1"]


def rules(*, for_other_machines: bool, **access: Any) -> Rules:
    return target_rules(Access(**access), lambda _: [], for_other_machines=for_other_machines)


def allowed(decide: Rules, hosts: list[str]) -> list[str]:
    return [host for host in hosts if decide.denial_reason(host) is None]


def test_a_proxy_for_other_machines_leads_to_nothing_that_trusts_this_one() -> None:
    assert allowed(rules(for_other_machines=True), [*LOCAL, *UNSPECIFIED, *OTHERS]) == OTHERS


def test_a_proxy_for_this_machine_leads_everywhere() -> None:
    everything = [*LOCAL, *UNSPECIFIED, *OTHERS]
    assert allowed(rules(for_other_machines=False), everything) == everything


@pytest.mark.parametrize("for_other_machines", [False, True])
def test_a_list_of_allowed_targets_decides_alone(for_other_machines: bool) -> None:
    decide = rules(for_other_machines=for_other_machines, allow=("127.0.0.0/8", "10.0.0.0/8"))
    assert allowed(decide, [*LOCAL, *UNSPECIFIED, *OTHERS]) == [
        "127.0.0.1",
        "127.255.3.4",
        "::ffff:127.0.0.1",
        "10.0.0.1",
    ]
    everything = rules(for_other_machines=for_other_machines, allow=("::/0",))
    assert allowed(everything, [*LOCAL, *UNSPECIFIED, *OTHERS]) == [*LOCAL, *UNSPECIFIED, *OTHERS]


def test_what_is_denied_stays_so_beside_the_addresses_of_this_machine() -> None:
    decide = rules(for_other_machines=True, deny=("10.0.0.0/8",))
    assert allowed(decide, [*LOCAL, *OTHERS]) == [host for host in OTHERS if host != "10.0.0.1"]
    decide = rules(for_other_machines=True, deny=("10.0.0.1",), allow=("10.0.0.0/30",))
    assert allowed(decide, ["10.0.0.1", "10.0.0.2"]) == ["10.0.0.2"]


@pytest.mark.parametrize("option", ["allow", "deny"])
def test_a_wrong_rule_is_reported_with_its_option(option: str) -> None:
    with pytest.raises(UsageError, match=f"^--proxy-{option} 1.2.3.4/99: an IPv4 address has only 32 bits$"):
        rules(for_other_machines=True, **{option: ("1.2.3.4/99",)})


# -- Connecting --------------------------------------------------------------------------------------------------


class Answers:
    """In the place of the look-up: each answer is given once, and there are no more look-ups than answers."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def __call__(self, context: Context, host: str, port: int) -> list[tuple[int, Any]]:
        return [
            (socket.AF_INET6, (text, port, 0, 0)) if ":" in text else (socket.AF_INET, (text, port))
            for text in self.answers.pop(0)
        ]


@pytest.fixture
def listener() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


async def test_only_an_address_that_was_checked_is_connected_to(
    real_loop: Bench, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second answer is that of a name whose address changes between the check and the connection."""
    port = listener.getsockname()[1]
    monkeypatch.setattr(permitted, "resolve", Answers(["127.0.0.9", "127.0.0.1"], ["127.0.0.9"]))
    events: list[Event] = []
    context = a_context(real_loop, report=events.append, host="name.example", ports=(port,))
    peer = await open_permitted(context, port, rules(for_other_machines=False, deny=("127.0.0.9",)))
    assert peer.address.host == "127.0.0.1"
    assert [type(event).__name__ for event in events] == ["Connected"]
    peer.close()


async def test_a_target_of_which_no_address_is_allowed_is_not_connected_to(
    real_loop: Bench, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = listener.getsockname()[1]
    monkeypatch.setattr(permitted, "resolve", Answers(["127.0.0.1", "::1"]))
    listener.settimeout(0)
    with pytest.raises(NotPermitted, match=rf"^connect to name port {port} \(tcp\): the target is not allowed$"):
        await open_permitted(a_context(real_loop, host="name"), port, rules(for_other_machines=True))
    with pytest.raises(BlockingIOError):
        listener.accept()


async def test_a_target_that_refuses_is_no_forbidden_one(real_loop: Bench) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(ConnectError, match="failed: Connection refused$") as caught:
            await open_permitted(a_context(real_loop, host="127.0.0.1"), port, rules(for_other_machines=False))
    assert not isinstance(caught.value, NotPermitted)
