"""`pync --completion SHELL` in the shells themselves: options, the words of an option, and the names of files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from harness import PYNC, UNMEASURED, Running, require, run
from terminals import Shell, controlled, terminal

from pync.faces.native.options import TABLE
from pync.faces.option_table import every

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = f"{Path(PYNC[0]).parent}:{os.environ['PATH']}"
PROXY_TYPES = ["connect", "http", "https", "socks4", "4", "socks4a", "socks5", "5", "socks5h"]


def in_shell(shell: str, script: str, folder: Path) -> list[str]:
    """The lines that a script prints, after the completion was loaded as the README has it."""
    words = {"fish": ["--no-config", "-c", f"pync --completion fish | source; {script}"]}
    usual = ["-c", f'eval "$(pync --completion {shell})"; {script}']
    environment = {**UNMEASURED, "PATH": PATH, "HOME": str(folder)}
    result = run([require(shell), *words.get(shell, usual)], env=environment, cwd=folder)
    assert result.err == ""
    return result.out.decode().splitlines()


def of_bash(line: str, folder: Path) -> list[str]:
    """What pync offers to bash for the last word of a line."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    call = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _pync_completion pync"
    return in_shell("bash", f"{call}; printf '%s\\n' \"${{COMPREPLY[@]}}\"", folder)


def of_fish(line: str, folder: Path) -> list[str]:
    """What fish offers for the last word of a line, with what it says of each."""
    return in_shell("fish", f'complete --do-complete "{line}"', folder)


def test_bash_offers_options_and_their_words(tmp_path: Path) -> None:
    assert of_bash("pync --proxy-s", tmp_path) == ["--proxy-server"]
    assert sorted(of_bash("pync -X ", tmp_path)) == sorted(PROXY_TYPES)
    assert of_bash("pync --proxy-server s", tmp_path) == ["socks5"]
    assert of_bash("pync --proxy-dns re", tmp_path) == ["remote"]
    assert "lowdelay" in of_bash("pync -T l", tmp_path)


def test_bash_completes_the_names_of_files_where_pync_has_nothing_to_offer(tmp_path: Path) -> None:
    (registered,) = in_shell("bash", "complete -p pync", tmp_path)
    assert "-o bashdefault -o default" in registered


def test_fish_shows_the_whole_help_of_an_option(tmp_path: Path) -> None:
    helps = {option.spellings[-1]: option.help for option in every(TABLE) if option.long}
    shown = dict(line.split("\t") for line in of_fish("pync --", tmp_path))
    assert [name for name in helps if shown[name] != helps[name]] == []
    assert any("," in text for text in helps.values())


def test_fish_offers_the_words_of_an_option(tmp_path: Path) -> None:
    assert sorted(of_fish("pync -X ", tmp_path)) == sorted(PROXY_TYPES)


@pytest.fixture
def zsh(tmp_path: Path) -> Iterator[Shell]:
    """An interactive zsh that has loaded nothing yet."""
    environment = {**UNMEASURED, "PATH": PATH, "HOME": str(tmp_path), "PS1": "ready> ", "TERM": "dumb"}
    words = [require("zsh"), "-f", "-i", "-o", "no_list_ambiguous", "-o", "auto_list"]
    with terminal() as (keyboard, screen):
        popen: dict[str, Any] = {"stdin": screen, "stdout": screen, "stderr": screen, "cwd": tmp_path}
        with Running(words, env=environment, **popen, **controlled()) as process:
            shell = Shell(keyboard, process)
            shell.expect("ready> ")
            yield shell


def test_zsh_loads_its_completion_and_completes_options_and_their_words(zsh: Shell) -> None:
    zsh.type('eval "$(pync --completion zsh)"; echo loa""ded\n')
    zsh.expect("loaded")
    zsh.expect("ready> ")
    zsh.type("pync --proxy-ser\t")
    zsh.expect("--proxy-server ")
    zsh.type("soc\t")
    zsh.expect("socks5 ")


def test_a_shell_that_is_not_known_is_refused() -> None:
    result = run([*PYNC, "--completion", "tcsh"])
    assert (result.status, result.out) == (2, b"")
    assert result.err.startswith("pync: --completion SHELL: not bash or zsh or fish: tcsh\n")
