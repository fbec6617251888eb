"""HTTP authentication between a proxy and its client, both sides: Basic (RFC 7617) and Digest (RFC 7616).

Theory: the proxy's 407 carries challenges, each a scheme with parameters. The client answers the strongest challenge
that it knows. With Basic it sends its password as good as in clear. With Digest it sends a hash of the password and of
a nonce, a text that the proxy has made. One function makes that hash from the parameters that are sent along: the
client sends its result, and the proxy compares with it. The user's name is in the hash too. So a proxy with a single
account need not look at the name that is sent, nor at the ways in which it may be written.

There are two qualities of protection: `auth`, and the older form without any (RFC 2069). There is no `auth-int`,
because the body has not come yet when the head is judged. A nonce holds the time when it was made, and proves that this
proxy made it, so only those that were answered are remembered: each is good once, or once for each count of a client's.

Must never use a clock or a source of chance: the caller gives a secret and the time. Passwords are compared in constant
time.
"""

from __future__ import annotations

from pync.config import Frozen
from pync.protocols.dialogue import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Literal

    from pync.protocols.dialogue import Login

    Parameters = dict[str, str]
    Verdict = Literal["granted", "denied", "stale"]

REALM = "pync"  # the name of what this proxy protects
NONCE_LIFE = 300  # seconds
NONCE_COUNT = "00000001"  # a client of ours answers each nonce only once
ANSWERS_LIMIT = 10_000  # answers to nonces that the proxy remembers, so that none is accepted twice

# The algorithms that a client answers, the strongest first, and their names in hashlib.
HASHES = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}
# The algorithms that the proxy offers. Their order should show its preference (RFC 7616, section 3.7), but Ncat takes
# the first Digest, and knows only MD5.
OFFERED = ("MD5", "SHA-256")

# These are written in quotes, and the others must not be (RFC 7616, section 3.4).
_QUOTED = {"username", "realm", "nonce", "uri", "response", "cnonce", "opaque"}
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = rf'(?P<name>{_TOKEN})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_TOKEN}))'
_SCHEME = rf"(?P<scheme>{_TOKEN})(?:\s+(?P<token>[\w.~+/-]+=*)(?=\s*(?:,|$)))?"


class Challenge(Frozen):
    """A scheme with its token or parameters: a challenge, or the credentials that answer one."""

    scheme: str  # in lower case
    token: str  # some schemes have one instead of parameters
    parameters: Parameters


def parse_challenges(text: str) -> list[Challenge]:
    """The challenges in a header's value, up to where its syntax is wrong (RFC 9110, section 11)."""
    import re

    item = re.compile(rf"[\s,]*(?:{_PARAMETER}|{_SCHEME})", re.ASCII)
    found: list[Challenge] = []
    at = 0
    while match := item.match(text, at):
        at = match.end()
        if scheme := match["scheme"]:
            found.append(Challenge(scheme=scheme.lower(), token=match["token"] or "", parameters={}))
        elif found:
            value = match["plain"] or re.sub(r"\\(.)", r"\1", match["quoted"] or "")
            found[-1].parameters[match["name"].lower()] = value
        else:
            break
    return found


# -- The client --------------------------------------------------------------------------------------------------


def answer(challenges: Iterable[str], login: Login, method: str, uri: str, cnonce: str) -> str | None:
    """The credentials for the strongest of these challenges, which are headers of a 407; None if none is known.

    `uri` is the request's target, `cnonce` a text that is hard to guess. Raises Refused.
    """
    known = [challenge for text in challenges for challenge in parse_challenges(text)]
    digests = [each.parameters for each in known if each.scheme == "digest" and _is_answerable(each.parameters)]
    if digests:
        strongest = min(digests, key=lambda parameters: list(HASHES).index(_algorithm(parameters)))
        return _digest_answer(strongest, _checked(login), method, uri, cnonce)
    return basic(login) if any(each.scheme == "basic" for each in known) else None


def basic(login: Login) -> str:
    """Credentials that need no challenge. Raises Refused."""
    import base64

    user, password = _checked(login)
    if ":" in user:
        raise Refused("a user with a colon in its name cannot be told by Basic authentication")
    return "Basic " + base64.b64encode(_octets(f"{user}:{password}")).decode()


def _checked(login: Login) -> Login:
    if any(letter < " " or letter == "\x7f" for text in login for letter in text):
        raise Refused("a user and password must not contain control characters")
    return login


def _digest_answer(challenge: Parameters, login: Login, method: str, uri: str, cnonce: str) -> str:
    """The credentials of Digest (RFC 7616, section 3.4)."""
    given = {"username": login[0], "realm": challenge["realm"], "nonce": challenge["nonce"], "uri": uri}
    given |= {name: challenge[name] for name in ("algorithm", "opaque") if name in challenge}
    if challenge.get("userhash", "").lower() == "true":
        given |= {"username": _hash(challenge)(f"{login[0]}:{challenge['realm']}"), "userhash": "true"}
    if _qualities(challenge):
        given |= {"qop": "auth", "nc": NONCE_COUNT}
    if _qualities(challenge) or _is_session(challenge):
        given["cnonce"] = cnonce
    given["response"] = _response(given, login, method)
    return "Digest " + ", ".join(f"{name}={_quote(text) if name in _QUOTED else text}" for name, text in given.items())


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


# -- The proxy ---------------------------------------------------------------------------------------------------


def make_challenges(nonce: str, *, stale: bool = False) -> list[str]:
    """The challenges of a 407; `stale` if the last credentials were right, but not their nonce."""
    rest = f'realm="{REALM}", nonce="{nonce}", qop="auth", charset=UTF-8{", stale=true" if stale else ""}'
    return [*(f"Digest {rest}, algorithm={each}" for each in OFFERED), f'Basic realm="{REALM}", charset="UTF-8"']


class Nonces:
    """The nonces of a proxy (RFC 7616, section 3.3): it makes them, and each answer to one is accepted once.

    They are numbered. When too many answers are remembered, those to the older nonces are forgotten, and these nonces
    are too old from then on: a client of one is sent a new nonce.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._made = 0
        self._oldest = 1  # the number of the first nonce that is not too old
        self._answered: dict[int, set[str]] = {}  # the counts of the answers, by the number of the nonce
        self._answers = 0

    def make(self, now: float) -> str:
        """A new nonce, of this moment in seconds, which cannot be made without knowing the secret."""
        self._made += 1
        return self._signed(f"{int(now):x}-{self._made:x}")

    def _signed(self, text: str) -> str:
        import hmac

        return f"{text}-{hmac.digest(self._secret, _octets(text), 'sha256').hex()}"

    def accept(self, nonce: str, count: str, now: float) -> bool:
        """Whether a nonce is ours and not too old, and was not answered before with this count of the client's."""
        text = nonce.rpartition("-")[0]
        if not _same(nonce, self._signed(text)):
            return False
        moment, number = (int(part, 16) for part in text.split("-"))
        self._forget()
        # `now` may be before `moment`: a client can open a connection first, and get the nonce on another one.
        if number < self._oldest or now >= moment + NONCE_LIFE:
            return False
        counts = self._answered.setdefault(number, set())
        if count in counts:
            return False
        counts.add(count)
        self._answers += 1
        return True

    def _forget(self) -> None:
        """Forget the answers to the older half of the nonces if there is no room for one more."""
        if self._answers < ANSWERS_LIMIT:
            return
        numbers = sorted(self._answered)
        self._oldest = numbers[len(numbers) // 2] + 1
        self._answered = {number: counts for number, counts in self._answered.items() if number >= self._oldest}
        self._answers = sum(map(len, self._answered.values()))


def check_credentials(
    credentials: str | None, login: Login, method: str, targets: Collection[str], fresh: Callable[[str, str], bool]
) -> Verdict:
    """Whether a Proxy-Authorization proves that its sender knows `login`; "stale" if it does, but with a used nonce.

    `targets` are the ways in which the request's target may be written, and `fresh` accepts a nonce and its count.
    """
    given = parse_challenges(credentials or "")[:1]
    if given and given[0].scheme == "basic":
        return "granted" if _is_basic(given[0].token, login) else "denied"
    if not given or given[0].scheme != "digest":
        return "denied"
    parameters = given[0].parameters
    if not _is_digest(parameters, login, method) or parameters["uri"] not in targets:
        return "denied"
    # A count that is not in the hash proves nothing.
    count = parameters["nc"] if _qualities(parameters) else ""
    return "granted" if fresh(parameters["nonce"], count) else "stale"


def _is_basic(token: str, login: Login) -> bool:
    import base64
    import binascii

    try:
        given = base64.b64decode(token, validate=True)
    except binascii.Error:
        return False
    return _same(given, ":".join(login))


def _is_digest(given: Parameters, login: Login, method: str) -> bool:
    needed = {"realm", "nonce", "uri", "response"} | ({"nc", "cnonce"} if _qualities(given) else set())
    if not needed <= given.keys() or given["realm"] != REALM or not _is_answerable(given):
        return False
    if len(given.get("nc", NONCE_COUNT)) != len(NONCE_COUNT):
        return False
    return _same(given["response"], _response(given, login, method))


def _same(given: str | bytes, right: str) -> bool:
    import hmac

    return hmac.compare_digest(given if isinstance(given, bytes) else _octets(given), _octets(right))


# -- Both sides --------------------------------------------------------------------------------------------------


def _response(given: Parameters, login: Login, method: str) -> str:
    """The proof in credentials whose other parameters are `given` (RFC 7616, section 3.4.1)."""
    digest = _hash(given)
    secret = digest(f"{login[0]}:{given['realm']}:{login[1]}")
    if _is_session(given):
        secret = digest(f"{secret}:{given['nonce']}:{given.get('cnonce', '')}")
    protection = [given["nc"], given["cnonce"], given["qop"]] if _qualities(given) else []
    return digest(":".join([secret, given["nonce"], *protection, digest(f"{method}:{given['uri']}")]))


def _algorithm(parameters: Parameters) -> str:
    return parameters.get("algorithm", "MD5").upper().removesuffix("-SESS")


def _is_session(parameters: Parameters) -> bool:
    return parameters.get("algorithm", "").upper().endswith("-SESS")


def _qualities(parameters: Parameters) -> list[str]:
    """The qualities of protection that a challenge offers, or the one that credentials use."""
    return [quality.strip().lower() for quality in parameters.get("qop", "").split(",") if quality.strip()]


def _is_answerable(parameters: Parameters) -> bool:
    import hashlib

    known = HASHES.get(_algorithm(parameters)) in hashlib.algorithms_available
    qualities = _qualities(parameters)
    return known and {"realm", "nonce"} <= parameters.keys() and (not qualities or "auth" in qualities)


def _hash(parameters: Parameters) -> Callable[[str], str]:
    import hashlib

    name = HASHES[_algorithm(parameters)]
    return lambda text: hashlib.new(name, _octets(text), usedforsecurity=False).hexdigest()


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
