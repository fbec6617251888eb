"""The types of option values: what each reads, and that it refuses everything else with a reason."""

from __future__ import annotations

import shlex
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pync.faces import option_values, rare_values

if TYPE_CHECKING:
    from collections.abc import Callable

TYPES = [
    option_values.seconds,
    option_values.quit_seconds,
    option_values.integer(-5, 70000),
    option_values.port,
    option_values.listen_port,
    option_values.ports,
    rare_values.tos,
    option_values.command,
    option_values.shell,
    option_values.user,
    option_values.hosts,
    option_values.host_and_port,
    option_values.Choice("yes y", "no n"),
    option_values.path,
    option_values.paths,
    rare_values.log_path,
    rare_values.fingerprint,
    rare_values.tokens,
    rare_values.header,
]
ODD = st.text(alphabet="0123456789+-.,:/\\ \t\n\0xmshéß٣\udc80eEinfa_", max_size=8)


def refusal(read: Callable[[str], object], text: str) -> str:
    """The reason with which a type refuses a text."""
    with pytest.raises(ValueError) as caught:
        read(text)
    assert type(caught.value) is ValueError
    return str(caught.value)


@pytest.mark.parametrize("read", TYPES)
@given(text=st.text() | ODD)
def test_nothing_but_value_error_with_a_reason_is_raised(read: Callable[[str], object], text: str) -> None:
    try:
        value = read(text)
    except ValueError as error:
        assert type(error) is ValueError and str(error)
    else:
        assert value is not None or read is option_values.quit_seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("5", 5),
        ("300", 300),  # not Ncat's "since April 2010"
        ("007", 7),
        ("+5", 5),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5),
        ("250ms", 0.25),
        ("250MS", 0.25),
        ("2s", 2),
        ("1.5m", 90),
        ("2H", 7200),
        ("2147483", 2147483),
        ("2147483000ms", 2147483),
    ],
)
def test_a_time_is_seconds_unless_it_has_a_unit(text: str, value: float) -> None:
    assert option_values.seconds(text) == pytest.approx(value)
    assert option_values.quit_seconds(text) == option_values.seconds(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "5 ", " 5", "5 s", "5x", "ms", ".", "1.2.3", "inf", "nan", "1e3", "0x5", "1_0", "٣", "--5", "5d", "5sm"],
)
def test_what_is_no_decimal_number_is_no_time(text: str) -> None:
    assert refusal(option_values.seconds, text) == f"invalid: {text}"
    assert refusal(option_values.quit_seconds, text) == f"invalid: {text}"


def test_a_time_has_limits() -> None:
    assert refusal(option_values.seconds, "-1") == "too small: -1"
    assert refusal(option_values.seconds, "-0.5ms") == "too small: -0.5ms"
    assert refusal(option_values.seconds, "2147484") == "too large: 2147484"
    assert refusal(option_values.seconds, "597h") == "too large: 597h"
    assert refusal(option_values.seconds, "9" * 5000).startswith("too large: ")
    assert str(option_values.seconds("-0")) == "0.0"


def test_a_negative_whole_number_means_never() -> None:
    assert option_values.quit_seconds("-1") is None
    assert option_values.quit_seconds("-300") is None
    assert option_values.quit_seconds("-0") == 0
    assert refusal(option_values.quit_seconds, "-1.5") == "too small: -1.5"
    assert refusal(option_values.quit_seconds, "-1s") == "too small: -1s"


@given(
    st.integers(0, option_values.MAX_SECONDS * 1000), st.sampled_from(["", "s", "S", "m", "M", "h", "H", "ms", "Ms"])
)
def test_a_time_is_read_as_it_was_written(thousandths: int, unit: str) -> None:
    factor = {"": 1, "s": 1, "m": 60, "h": 3600, "ms": 0.001}[unit.lower()]
    text = f"{thousandths // 1000}.{thousandths % 1000:03}{unit}"
    if thousandths * factor <= option_values.MAX_SECONDS * 1000:
        assert option_values.seconds(text) == pytest.approx(thousandths / 1000 * factor)
    else:
        assert refusal(option_values.seconds, text) == f"too large: {text}"


@given(st.integers(-(10**18), 10**18), st.integers(), st.integers(-(10**18), 10**18))
def test_a_count_is_read_as_it_was_written_between_its_limits(low: int, value: int, high: int) -> None:
    read = option_values.integer(low, high)
    for text in (str(value), f"{value:+}"):
        if low <= value <= high:
            assert read(text) == value
        else:
            assert refusal(read, text) == f"too {'small' if value < low else 'large'}: {text}"


def test_a_count_is_strict() -> None:
    read = option_values.integer(1, 99)
    assert read("0042") == 42
    assert read("0" * 5000 + "7") == 7
    assert refusal(read, "0") == "too small: 0"
    assert refusal(read, "-" + "9" * 5000).startswith("too small: -9")
    assert refusal(read, "9" * 5000).startswith("too large: 9")
    for text in ("", " 5", "5 ", "1.5", "5x", "0x5", "1_0", "+-5", "-", "٣", "²"):
        assert refusal(read, text) == f"invalid: {text}"


def test_a_port_is_a_number_or_the_name_of_a_service() -> None:
    assert option_values.port("1") == 1
    assert option_values.port("+080") == 80
    assert option_values.port("65535") == 65535
    assert option_values.port("http") == option_values.listen_port("http") == 80
    assert option_values.port("http-alt") == 8080
    for text in ("", "nosuch", "80x", " 80", "10-20", "ht\0tp", "\ud800"):
        assert refusal(option_values.port, text) == f"invalid: {text}"


def test_a_service_is_one_of_the_protocol() -> None:
    assert option_values.port("tftp", "udp") == option_values.listen_port("tftp", "udp") == 69
    assert refusal(option_values.port, "tftp") == "invalid: tftp"


def test_a_port_never_wraps_around() -> None:
    assert option_values.listen_port("0") == 0
    assert refusal(option_values.port, "0") == "too small: 0"
    assert refusal(option_values.listen_port, "-1") == "too small: -1"
    for read in (option_values.port, option_values.listen_port, option_values.ports):
        assert refusal(read, "70000") == "too large: 70000"


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_a_range_of_ports_counts_upwards(one: int, other: int) -> None:
    assert option_values.ports(f"{one}-{other}") == tuple(range(min(one, other), max(one, other) + 1))
    assert option_values.ports(str(one)) == (one,)


def test_a_hyphen_may_belong_to_the_name_of_a_service() -> None:
    assert option_values.ports("http-alt") == (8080,)
    assert option_values.ports("snmp-trap", "udp") == (socket.getservbyname("snmp-trap", "udp"),)
    assert option_values.ports("tftp", "udp") == (69,)
    for text in ("http-https", "80-http", "10-", "1-2-3", "-", "", "1-+5", "1--5"):
        assert refusal(option_values.ports, text) == f"invalid: {text}"
    assert refusal(option_values.ports, "-5") == "too small: -5"
    assert refusal(option_values.ports, "1-0") == "too small: 0"
    assert refusal(option_values.ports, "1-70000") == "too large: 70000"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("af11", 0x28),
        ("af12", 0x30),
        ("af13", 0x38),
        ("AF21", 0x48),
        ("af22", 0x50),
        ("af23", 0x58),
        ("af31", 0x68),
        ("af32", 0x70),
        ("af33", 0x78),
        ("af41", 0x88),
        ("af42", 0x90),
        ("af43", 0x98),
        ("cs0", 0),
        ("cs1", 0x20),
        ("cs2", 0x40),
        ("cs3", 0x60),
        ("cs4", 0x80),
        ("cs5", 0xA0),
        ("cs6", 0xC0),
        ("CS7", 0xE0),
        ("ef", 0xB8),
        ("critical", 0xA0),
        ("inetcontrol", 0xC0),
        ("netcontrol", 0xE0),
        ("lowdelay", 0x10),
        ("throughput", 0x08),
        ("reliability", 0x04),
        ("lowcost", 0x02),
        ("Minimize-Delay", 0x10),
        ("Maximize-Throughput", 0x08),
        ("Maximize-Reliability", 0x04),
        ("Minimize-Cost", 0x02),
    ],
)
def test_the_keywords_of_both_netcats_name_a_type_of_service(text: str, value: int) -> None:
    assert rare_values.tos(text) == value


@given(st.integers(0, 255))
def test_a_type_of_service_is_a_byte_in_either_base(value: int) -> None:
    for text in (str(value), f"{value:#x}", f"0x{value:02X}", f"0X{value:02x}"):
        assert rare_values.tos(text) == value


def test_a_type_of_service_is_nothing_else() -> None:
    assert refusal(rare_values.tos, "256") == "too large: 256"
    assert refusal(rare_values.tos, "-1") == "too small: -1"
    for text in ("", "0x", "0x100", "0xgg", "0x_f", "0x-1", "b8", "af44", "cs8", "lowdelay "):
        assert refusal(rare_values.tos, text) == f"invalid: {text}"


COMMANDS = {
    "/bin/cat": ("/bin/cat",),
    "  prog\tx\ny\\\tz": ("prog", "x", "y\tz"),
    r"prog a\ b c\x a\\b \  c": ("prog", "a b", "cx", r"a\b", " ", "c"),
    """sh -c "echo hi" '' "" x''y""": ("sh", "-c", "echo hi", "", "", "xy"),
    """prog 'd "e' "it's" a'b c'd""": ("prog", 'd "e', "it's", "ab cd"),
    r"""prog 'a\b' "a\b \" \\ \$x \`" \' \" """: ("prog", r"a\b", r'a\b " \ $x `', "'", '"'),
    "prog a\u00a0b": ("prog", "a\u00a0b"),
}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_divided_as_by_the_shell(line: str) -> None:
    assert option_values.command(line) == COMMANDS[line]
    script = f"show() {{ printf '%s\\0' \"$@\"; }}; show {line.strip()}".replace("\n", " ")
    shown = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, check=True).stdout
    assert tuple(shown.decode().split("\0")[:-1]) == COMMANDS[line]


@given(st.text("a \t\n\\'\"", max_size=12))
def test_a_command_is_divided_as_by_shlex(line: str) -> None:
    try:
        words = tuple(shlex.split(line))
    except ValueError:
        words = ()
    try:
        assert option_values.command(line) == words
    except ValueError:
        assert not words or not words[0]


def test_a_command_without_a_program_or_with_half_an_escape_or_quote_is_refused() -> None:
    for text in ("", " \t", "''", "'' x"):
        assert refusal(option_values.command, text) == "no program named"
    assert refusal(option_values.command, "prog a\\") == "nothing follows the last backslash: prog a\\"
    assert refusal(option_values.command, "prog 'a") == "no closing ': prog 'a"
    assert refusal(option_values.command, 'prog a"') == 'no closing ": prog a"'


@given(st.lists(st.text(min_size=1), min_size=1), st.text(" \t\n\v\f\r", min_size=1))
def test_escaped_words_come_back_as_they_were(words: list[str], blanks: str) -> None:
    escaped = ["".join(f"\\{letter}" if letter in " \t\n\v\f\r\\'\"" else letter for letter in word) for word in words]
    fully_escaped = ["".join(f"\\{letter}" for letter in word) for word in words]
    assert option_values.command(blanks.join(escaped)) == tuple(words)
    assert option_values.command(blanks + blanks.join(fully_escaped) + blanks) == tuple(words)


@given(st.text())
def test_the_shell_gets_its_line_untouched(line: str) -> None:
    assert option_values.shell(line) == ("/bin/sh", "-c", line)


def test_a_user_has_a_name_and_perhaps_a_group() -> None:
    for text in ("nobody", "nobody:nogroup", "65534", "1:2"):
        assert option_values.user(text) == text
    for text in ("", ":", "nobody:", ":nogroup", "a:b:c"):
        assert refusal(option_values.user, text) == f"not NAME or NAME:GROUP: {text}"


@given(st.lists(st.text("abc.:/*-0123456789", min_size=1), min_size=1))
def test_hosts_are_divided_by_commas(hosts: list[str]) -> None:
    assert option_values.hosts(",".join(hosts)) == option_values.hosts(" , ,".join(hosts) + ",") == tuple(hosts)


def test_a_list_that_names_no_host_is_refused() -> None:
    for text in ("", ",", " , "):
        assert refusal(option_values.hosts, text) == "no host named"


def test_a_path_is_anything_a_file_can_be_called() -> None:
    assert option_values.path("a b/\udc80") == "a b/\udc80"
    assert refusal(option_values.path, "") == "empty file name"
    assert refusal(option_values.path, "a\0b") == "not a file name"


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1), st.data())
def test_a_log_is_one_file_or_has_letters_between_the_texts_of_its_name(texts: list[str], data: st.DataObject) -> None:
    name = [texts[0]]
    for text in texts[1:]:
        name += [data.draw(st.sampled_from("aptn")), text]
    spelled = "".join(f"%{part}" if at % 2 else part.replace("%", "%%") for at, part in enumerate(name))
    if not spelled:
        assert refusal(rare_values.log_path, spelled) == "empty file name"
    else:
        assert rare_values.log_path(spelled) == (tuple(name) if len(name) > 1 else name[0])


@pytest.mark.parametrize(("text", "unknown"), [("50%", "%"), ("%A", "%A"), ("a%%%", "%"), ("%n%\n", "%\n")])
def test_an_unknown_letter_in_the_name_of_a_log_is_refused(text: str, unknown: str) -> None:
    why = f"{unknown} is none of %a, %p, %t, %n and %%: {text}"
    assert refusal(rare_values.log_path, text) == why


def test_a_path_of_a_repeated_option_is_one_of_many() -> None:
    assert option_values.paths("a,b") == ("a,b",)
    assert refusal(option_values.paths, "") == "empty file name"


ADDRESSES = st.one_of(st.ip_addresses().map(str), st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True))


@given(ADDRESSES, st.integers(1, 65535))
def test_a_host_and_a_port_are_read_as_they_were_written(host: str, port: int) -> None:
    written = f"[{host}]" if ":" in host else host
    assert option_values.host_and_port(f"{written}:{port}") == (host, str(port))
    assert option_values.host_and_port(written) == (host, "")


def test_brackets_must_be_right() -> None:
    for text in ("[::1", "[::1]8080"):
        assert refusal(option_values.host_and_port, text) == "not [HOST]:PORT"
    assert refusal(option_values.host_and_port, "::1") == "an IPv6 address needs brackets, as in [::1]:8080"


def test_a_choice_is_the_first_word_of_its_group() -> None:
    answer = option_values.Choice("yes y", "no n")
    assert answer("yes") == answer("Y") == "yes"
    assert answer("n") == "no"
    assert refusal(answer, "perhaps") == "not yes or no: perhaps"


def test_a_header_has_a_name_of_http_and_a_value_without_control_characters() -> None:
    assert rare_values.header("X-A: b: c ") == (("X-A", "b: c"),)
    assert rare_values.header("a:") == (("a", ""),)
    for text in "a", ":b", "a b:c", "a\n:b":
        assert refusal(rare_values.header, text) == "not NAME:VALUE"
    for text in "a:\r\nb: c", "a:é", "a:\x1b":
        assert refusal(rare_values.header, text) == "the value of a has letters that HTTP has not"


def test_tokens_are_divided_by_commas() -> None:
    assert rare_values.tokens("chat, v2.mqtt") == ("chat", "v2.mqtt")
    for text in "", "a,", "a b", "a;b", "é":
        assert refusal(rare_values.tokens, text) == f"not a list of names: {text}"


def test_alpn_names_are_divided_by_commas() -> None:
    assert rare_values.alpn_names("h2,http/1.1") == ("h2", "http/1.1")
    for text in ("", "h2,", "a" * 256, "h\xe9", "\udcff"):
        assert refusal(rare_values.alpn_names, text) == f"not a list of names: {text}"


@given(st.binary(min_size=32, max_size=32))
def test_a_fingerprint_is_read_with_or_without_its_prefix_and_colons(digest: bytes) -> None:
    for digits in (digest.hex(), digest.hex().upper(), digest.hex(":")):
        assert rare_values.fingerprint(digits) == digest
        assert rare_values.fingerprint(f"sha256:{digits}") == digest
        assert rare_values.fingerprint(f"SHA256:{digits}") == digest


def test_nothing_else_is_a_fingerprint() -> None:
    for text in ("", "sha256:", "sha256:00", "g" * 64, "0" * 63, "sha1:" + "0" * 64):
        assert refusal(rare_values.fingerprint, text) == f"not sha256: and 64 hexadecimal digits: {text}"
