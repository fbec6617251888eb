"""pync without click or h11, and on a system that it does not know: it works, or one line says what is missing."""

from __future__ import annotations

import sys

import pytest
from harness import DEVNULL, PYNC, UNMEASURED, Running, announced, failure, free_port, run, success

# The same pync, for which a package is not installed.
HIDING = "import sys; sys.modules[{package!r}] = None; from pync.cli import main; main()"


def without(package: str) -> list[str]:
    """Pync where a Python package is not installed."""
    return [sys.executable, "-c", HIDING.format(package=package)]


def needs(what: str, package: str) -> str:
    return f"{what}: needs the Python package {package} ('pip install {package}')"


@pytest.mark.parametrize("words", [["--help"], ["--help", "all"], ["--version"]])
def test_the_help_needs_no_click(words: list[str]) -> None:
    assert run([*without("click"), *words], env=UNMEASURED) == run([*PYNC, *words], env=UNMEASURED)


def test_completion_needs_click() -> None:
    assert run([*without("click"), "--completion", "bash"]) == failure(needs("completion", "click"))
    asked = {**UNMEASURED, "_PYNC_COMPLETE": "bash_source"}
    assert run(without("click"), env=asked) == failure(needs("completion", "click"))


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["-l", "--http", "127.0.0.1", "0"], "--http"),
        (["-lk", "--proxy-server", "http", "127.0.0.1", "0"], "--proxy-server http"),
        (["--proxy", "http://127.0.0.1:1", "localhost", "2"], "an HTTP proxy"),
        (["-X", "connect", "-x", "127.0.0.1:1", "localhost", "2"], "an HTTP proxy"),
        (["-lk", "--to", "localhost:2", "--proxy", "127.0.0.1:1", "127.0.0.1", "0"], "an HTTP proxy"),
    ],
)
def test_what_speaks_http_names_the_package_before_anything_is_bound_or_sent(words: list[str], what: str) -> None:
    assert run([*without("h11"), *words]) == failure(needs(what, "h11"))


@pytest.mark.parametrize("package", ["click", "h11"])
def test_all_else_needs_neither(package: str) -> None:
    pync = without(package)
    with announced(Running([*pync, "-v", "-lk", "-e", "cat", "127.0.0.1", "0"], stdin=DEVNULL)) as server:
        port = str(server.port)
        assert run([*pync, "127.0.0.1", port], b"GET / HTTP/1.0\r\n\r\n") == success(b"GET / HTTP/1.0\r\n\r\n")
        assert run([*pync, "-z", "127.0.0.1", port]) == success()
        socks = Running([*pync, "-v", "-lk", "--proxy-server", "socks5", "127.0.0.1", "0"], stdin=DEVNULL)
        with announced(socks) as proxy:
            through = ["-x", f"127.0.0.1:{proxy.port}", "127.0.0.1", port]
            assert run([*pync, *through], b"hello") == success(b"hello")


def test_tls_needs_neither_package() -> None:
    pync = [
        sys.executable,
        "-c",
        HIDING.format(package="h11").replace("sys.modules", "sys.modules['click'] = sys.modules", 1),
    ]
    with Running([*pync, "-v", "-lk", "--ssl", "-c", "cat", "127.0.0.1", "0"], stdin=DEVNULL) as server:
        port = server.expect(r"^Listening on \S+ (\d+)")[1]
        request = b"GET / HTTP/1.0\r\n\r\n"
        assert run([*pync, "--ssl", "--ssl-no-verify", "127.0.0.1", port], request) == success(request)


def test_windows_is_refused_in_one_line() -> None:
    unix_only = ["fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty"]
    script = f"""if True:
        import os, sys
        sys.platform = "win32"
        sys.modules.update(dict.fromkeys({unix_only}))
        for name in "fork", "getuid", "pidfd_open", "sendfile", "splice":
            vars(os).pop(name, None)
        from pync.cli import main
        main()
    """
    with free_port() as port:
        result = run([sys.executable, "-c", script, "-z", "127.0.0.1", str(port)], env=UNMEASURED)
    assert result == failure(
        "Windows is not supported: it runs on Unix systems, and in the Windows Subsystem for Linux"
    )
