"""WebSocket with a browser, and behind reverse proxies."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import TYPE_CHECKING

from clients import is_true
from harness import PYNC, Result, Running, listen, pync, require, run

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = """<script>
const socket = new WebSocket("ws://127.0.0.1:%d/");
socket.onopen = () => socket.send("from a page\\n");
socket.onmessage = event => { socket.send("it got " + event.data); socket.close(); };
</script>"""


@contextmanager
def visiting(folder: Path, url: str) -> Iterator[None]:
    """Chromium with that page."""
    words = [require("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    with Running([*words, f"--user-data-dir={folder / 'profile'}", url], stdin=DEVNULL):
        yield


@contextmanager
def browsing(folder: Path, port: int, text: str = PAGE) -> Iterator[None]:
    """Chromium with that page of a file, whose Origin is null."""
    page = folder / "page.html"
    page.write_text(text % port)
    with visiting(folder, page.as_uri()):
        yield


def test_chromium_has_a_conversation(tmp_path: Path) -> None:
    with listen("--ws", "--ws-text", "--ws-origin", "*", "127.0.0.1", "0") as ours, browsing(tmp_path, ours.port):
        assert ours.read(12) == b"from a page\n"
        ours.send(b"an answer\n")
        assert ours.read(17) == b"it got an answer\n"
        assert ours.wait() == 0


def test_a_page_of_another_site_is_refused_in_chromium(tmp_path: Path) -> None:
    with listen("-k", "--ws", "-c", "cat", "127.0.0.1", "0") as ours, browsing(tmp_path, ours.port):
        ours.expect("it is for a page of null, which --ws-origin does not name")


def test_a_page_gets_the_protocol_that_it_asks_for(tmp_path: Path) -> None:
    page = """<script>
const socket = new WebSocket("ws://127.0.0.1:%d/", ["one", "two"]);
socket.onopen = () => socket.send(socket.protocol);
</script>"""
    with listen("--ws", "--ws-origin", "*", "127.0.0.1", "0") as ours, browsing(tmp_path, ours.port, page):
        assert ours.read(3) == b"one"


def test_the_chat_of_the_readme(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    _, _, rest = readme.partition("```html\n")
    page, *_ = rest.partition("```")
    types = """<script>
chat.addEventListener("open", () => type("from a page"))
chat.addEventListener("message", event => event.data.includes("hello") && type(document.body.innerText))
function type(words) { const input = document.querySelector("input"); input.value = words; input.onchange() }
</script>"""
    options = ["--chat", "--ws", "--ws-text", "--ws-origin", "localhost:%d"]
    assert f"pync {' '.join(options) % 8000} localhost 8080" in readme
    (tmp_path / "chat.html").touch()
    with (tmp_path / "chat.html").open() as stdin, listen("-k", "--http", "localhost", "0", stdin=stdin) as site:
        options[-1] %= site.port
        with listen(*options, "localhost", "0") as ours, pync(f"ws://localhost:{ours.port}") as terminal:
            (tmp_path / "chat.html").write_text(page.replace("8080", str(ours.port)) + types)
            terminal.read_until(b"already connected: nobody.\n")
            with visiting(tmp_path, f"http://localhost:{site.port}/"):
                terminal.read_until(b"<user2> from a page\n")
                terminal.send(b"hello\n")
                terminal.read_until(b"<user1> hello")


# -- Behind a reverse proxy ----------------------------------------------------------------------------------------

NGINX = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen unix:{folder}/web;
        location /chat/ {{
            proxy_pass http://127.0.0.1:{port};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }}
        location / {{
            return 404;
        }}
    }}
}}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 9s
    timeout client 9s
    timeout server 9s
    timeout tunnel 9s
listen web
    bind fd@{fd}
    server target 127.0.0.1:{port}
"""
DATA = bytes(range(256)) * 1000


def test_nginx_passes_it_on(tmp_path: Path) -> None:
    require("nginx")
    with listen("-k", "--ws", "-c", "cat", "127.0.0.1", "0") as ours:
        (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, port=ours.port))
        with Running(["nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")], stdin=DEVNULL):
            is_true((tmp_path / "pid").exists, "nginx has started")
            with listen("-k", "--to", str(tmp_path / "web"), "127.0.0.1", "0") as front:
                url = f"ws://127.0.0.1:{front.port}"
                assert run([*PYNC, f"{url}/chat/"], DATA).digested() == Result(0, DATA, "").digested()
                refused = run([*PYNC, f"{url}/other"])
                assert (refused.status, "status 404 Not Found instead of 101" in refused.err) == (1, True)
            client = run([*PYNC, "-U", "--ws", str(tmp_path / "web")])
            assert (client.status, "status 404 Not Found instead of 101" in client.err) == (1, True)


def test_haproxy_passes_it_on(tmp_path: Path) -> None:
    require("haproxy")
    with (
        listen("-k", "--ws", "-c", "cat", "127.0.0.1", "0") as ours,
        socket.create_server(("127.0.0.1", 0)) as web,
    ):
        (tmp_path / "haproxy.cfg").write_text(HAPROXY.format(fd=web.fileno(), port=ours.port))
        words = ["haproxy", "-db", "-f", str(tmp_path / "haproxy.cfg")]
        with Running(words, stdin=DEVNULL, pass_fds=[web.fileno()]):
            url = f"ws://127.0.0.1:{web.getsockname()[1]}"
            assert run([*PYNC, url], DATA).digested() == Result(0, DATA, "").digested()
            assert run([*PYNC, "-z", url]).status == 0
