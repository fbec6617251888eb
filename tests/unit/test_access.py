"""Laws of --allow and --deny: what each rule covers, compared with the ipaddress module, and which list wins."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.config import Access
from pync.errors import AddressError, InputError, PyncError, UsageError
from pync.net.access import load_rules

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {
    "both.example": ["192.0.2.1", "2001:db8::1"],
    "four.example": ["192.0.2.1", "198.51.100.7"],
    "zone.example": ["fe80::7%eth0"],
    "10-20.example": ["192.0.2.10"],
    "127.1": ["127.0.0.1"],
    "nothing.example": [],
}
IPV4 = st.ip_addresses(v=4)
IPV6 = st.ip_addresses(v=6)
OCTET = st.integers(0, 255)


def resolve(name: str) -> list[str]:
    """The addresses of a name in NAMES; no other name has any."""
    if name not in NAMES:
        raise AddressError(name, "unknown name")
    return NAMES[name]


def denied(rule: str, host: str) -> bool:
    """Whether the rule covers the host: the same in both lists, with opposite effect."""
    by_deny = load_rules(Access(deny=(rule,)), resolve).denial_reason(host)
    by_allow = load_rules(Access(allow=(rule,)), resolve).denial_reason(host)
    assert {by_deny, by_allow} == {None, "not allowed"}
    return by_deny is not None


def failure(access: Access) -> PyncError:
    """The error with which the rules are refused."""
    with pytest.raises(PyncError) as caught:
        load_rules(access, resolve)
    return caught.value


@given(IPV4 | IPV6, IPV4 | IPV6, st.integers(0, 128))
def test_an_address_covers_itself_and_a_network_its_addresses(
    base: ipaddress.IPv4Address | ipaddress.IPv6Address,
    other: ipaddress.IPv4Address | ipaddress.IPv6Address,
    bits: int,
) -> None:
    bits = min(bits, base.max_prefixlen)
    network = ipaddress.ip_network(f"{base}/{bits}", strict=False)
    assert denied(str(base), str(base))
    assert denied(f"{base}/{bits}", str(base)) and denied(f"{base}/{bits}", str(network[-1]))
    if base.version == other.version:
        assert denied(str(base), str(other)) == (base == other)
        assert denied(f"{base}/{bits}", str(other)) == (other in network)


@given(IPV4, IPV4, st.integers(0, 32))
def test_an_ipv4_address_equals_its_mapped_form(
    base: ipaddress.IPv4Address, other: ipaddress.IPv4Address, bits: int
) -> None:
    covered = denied(f"{base}/{bits}", str(other))
    assert denied(f"{base}/{bits}", f"::ffff:{other}") == covered
    assert denied(f"::ffff:{base}/{bits + 96}", str(other)) == covered
    assert denied(f"::ffff:{base}", str(base)) and denied(str(base), f"::ffff:{base}")


def test_the_network_of_all_ipv6_addresses_covers_every_client() -> None:
    assert denied("::/0", "::1") and denied("::/0", "127.0.0.1")
    assert denied("0.0.0.0/0", "127.0.0.1") and not denied("0.0.0.0/0", "::1")


@given(st.lists(st.tuples(OCTET, OCTET).map(sorted), min_size=4, max_size=4), st.tuples(OCTET, OCTET, OCTET, OCTET))
def test_octets_may_be_ranges(ranges: list[list[int]], octets: tuple[int, ...]) -> None:
    host = ".".join(map(str, octets))
    inside = all(low <= octet <= high for (low, high), octet in zip(ranges, octets, strict=True))
    assert denied(".".join(f"{low}-{high}" for low, high in ranges), host) == inside
    for index, (low, high) in enumerate(ranges):
        rule = ["*", "*", "-", "0-"]
        rule[index] = f"-{high}"
        assert denied(".".join(rule), host) == (octets[index] <= high)
        rule[index] = f"{low}-"
        assert denied(".".join(rule), host) == (octets[index] >= low)


@given(OCTET, OCTET, st.integers(0, 32), IPV4)
def test_octet_ranges_take_a_netmask(one: int, other: int, bits: int, host: ipaddress.IPv4Address) -> None:
    low, high = sorted((one, other))
    networks = [ipaddress.ip_network(f"10.{octet}.7.9/{bits}", strict=False) for octet in range(low, high + 1)]
    assert denied(f"10.{low}-{high}.7.9/{bits}", str(host)) == any(host in network for network in networks)
    assert denied(f"10.{low}-{high}.7.9/{bits}", str(networks[0][-1]))


def test_octet_ranges_are_about_ipv4_only() -> None:
    assert denied("127.0-1.*.1-5", "127.1.200.5") and denied("127.0-1.*.1-5", "::ffff:127.0.9.1")
    assert not denied("*.*.*.*", "::1")


def test_a_name_stands_for_all_its_addresses() -> None:
    assert denied("both.example", "192.0.2.1") and denied("both.example", "2001:db8::1")
    assert not denied("both.example", "192.0.2.2")
    assert denied("both.example/24", "192.0.2.2") and denied("both.example/24", "2001:dff::")
    assert not denied("both.example/24", "2002::")
    assert denied("10-20.example", "192.0.2.10")
    assert denied("127.1", "127.0.0.1")


def test_zones_are_left_out_of_the_comparison() -> None:
    assert denied("fe80::1%eth0", "fe80::1") and denied("fe80::1", "fe80::1%eth1")
    assert denied("fe80::%eth0/10", "fe80::2%eth1") and denied("zone.example", "fe80::7%eth9")


def test_deny_wins_over_allow() -> None:
    both = load_rules(Access(allow=("10.0.0.0/8",), deny=("10.1.0.0/16", "10.2.*.*")), resolve)
    assert both.denial_reason("10.3.0.1") is None
    assert (
        both.denial_reason("10.1.0.1")
        == both.denial_reason("10.2.0.1")
        == both.denial_reason("11.0.0.1")
        == "not allowed"
    )


def test_without_rules_every_client_is_served() -> None:
    free = load_rules(Access(), resolve)
    assert [free.denial_reason(host) for host in ("127.0.0.1", "::1", "/run/x", "@x", "")] == [None] * 5


def test_unix_peers_are_not_subject_to_the_rules() -> None:
    none_served = load_rules(Access(allow=("192.0.2.1",), deny=("::/0",)), resolve)
    assert [none_served.denial_reason(host) for host in ("", "/run/x", "@x", "a:b", "a\0b")] == [None] * 5
    assert none_served.denial_reason("192.0.2.1") == "not allowed"


def test_files_hold_rules_between_blanks_and_comments(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("# who is welcome\n192.0.2.1\t192.0.3.*#and no others\r\n\n  2001:db8::1 # 10.0.0.1\n10.0.0.5")
    allowed = load_rules(Access(allow=("192.0.9.9",), allow_files=(str(file),)), resolve)
    for host in ("192.0.2.1", "192.0.3.200", "2001:db8::1", "10.0.0.5", "192.0.9.9"):
        assert allowed.denial_reason(host) is None
    for host in ("192.0.4.1", "10.0.0.1"):
        assert allowed.denial_reason(host) == "not allowed"


def test_a_comma_in_a_file_belongs_to_an_octet(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("10.0.0.5,7-8")
    denying = load_rules(Access(deny_files=(str(file),)), resolve)
    assert [bool(denying.denial_reason(f"10.0.0.{last}")) for last in range(4, 10)] == [
        False,
        True,
        False,
        True,
        True,
        False,
    ]
    file.write_text("10.0.0.5,10.0.0.7")
    assert failure(Access(deny_files=(str(file),))).why == "unknown name"


def test_an_empty_file_allows_no_client_and_denies_none(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("# no rule\n")
    assert load_rules(Access(allow_files=(str(file),)), resolve).denial_reason("127.0.0.1") == "not allowed"
    assert load_rules(Access(deny_files=(str(file),)), resolve).denial_reason("127.0.0.1") is None


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("192.0.2.1/33", "an IPv4 address has only 32 bits"),
        ("four.example/33", "an IPv4 address has only 32 bits"),
        ("1-2.3.4.5/33", "an IPv4 address has only 32 bits"),
        ("::1/129", "an IPv6 address has only 128 bits"),
        ("::1/" + "9" * 5000, "an IPv6 address has only 128 bits"),
        ("192.0.2.1/", "not a number of bits after the slash"),
        ("192.0.2.1/-1", "not a number of bits after the slash"),
        ("192.0.2.1/255.255.255.0", "not a number of bits after the slash"),
        ("192.0.2.1/8/8", "not a number of bits after the slash"),
        ("/8", "not a host"),
        ("", "not a host"),
        ("127.0.0.1\0", "not a host"),
        ("\udc80", "not a host"),
    ],
)
def test_a_malformed_rule_is_a_usage_error_naming_it(rule: str, why: str) -> None:
    for access, option in ((Access(allow=(rule,)), "--allow"), (Access(deny=(rule,)), "--deny")):
        error = failure(access)
        assert type(error) is UsageError
        assert (error.what, error.why) == (f"{option} {rule}", why)


@pytest.mark.parametrize(
    "rule",
    [
        "nosuch.example",
        "nosuch.example/8",
        "*",
        "1.2.3-2.4",
        "1.2.3.256-",
        "1..2.3",
        "1.2.3",
        "1.2.3.010",
        "1.2.3.4.5",
        "[::1]",
        "1.2.3.--",
        "1.2.3.1,",
        "127.0.0.1 ",
    ],
)
def test_what_is_no_address_is_a_name_and_must_have_one(rule: str) -> None:
    error = failure(Access(deny=(rule,)))
    assert type(error) is AddressError
    assert (error.what, error.why) == (f"--deny {rule}", "unknown name")
    assert failure(Access(deny=("nothing.example",))).why == "no address"


def test_an_error_in_a_file_names_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("127.0.0.1\n\n::1 192.0.2.1/33\n")
    error = failure(Access(deny_files=(str(file),)))
    assert str(error) == f"{file}:3: 192.0.2.1/33: an IPv4 address has only 32 bits"
    file.write_text("nosuch.example")
    assert str(failure(Access(allow_files=(str(file),)))) == f"{file}:1: nosuch.example: unknown name"


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\0")
    for path, why in (
        (tmp_path / "none", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (binary, "not a text file"),
    ):
        error = failure(Access(deny_files=(str(path),)))
        assert type(error) is InputError
        assert (error.what, error.why) == (str(path), why)


def test_a_long_list_takes_no_more_time_for_a_client_than_a_short_one(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("\n".join(f"10.{high}.{low}.0/24" for high in range(40) for low in range(256)))
    many = load_rules(Access(deny_files=(str(file),)), resolve)
    assert sum(many.denial_reason(f"10.{index % 80}.7.{index % 256}") is not None for index in range(8000)) == 4000


@given(st.text() | st.text("0123456789.-*,:/%f "))
def test_any_rule_is_understood_or_refused_with_a_reason(rule: str) -> None:
    try:
        made = load_rules(Access(deny=(rule,)), resolve)
    except (UsageError, AddressError) as error:
        assert error.what == f"--deny {rule}" and error.why
    else:
        assert made.denial_reason("192.0.2.1") in (None, "not allowed")
