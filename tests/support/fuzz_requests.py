"""Requests that are half right, so that they come past the first check, and half anything; made from the schema."""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st

from crossmod.reader.design import CHOICES, REGIONS
from tests.support.web_study import Served, fields, form_token

METHODS = ("GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
ASCII = "".join(map(chr, range(32, 127)))
# What has broken one server or another.
HEADERS = {
    "Accept": ["*/*"],
    "Accept-Language": ["it;q=x", "it;q=inf,en;q=-1", ",;,;q=", "*"],
    "Content-Length": ["-1", "0", "99999999999999999999", "+5"],
    "Content-Type": ["multipart/form-data; boundary=x", "multipart/form-data", "application/json", "a/b; charset=no"],
    "Forwarded": ["for=1.2.3.4"],
    "HX-Request": ["true"],
    "Host": ["[", "a]b", "elsewhere.example", "testserver:x", ""],
    "If-None-Match": ["*"],
    "Origin": ["null", "http://[", "http://testserver", "https://elsewhere.example", "\u00e9"],
    "Range": ["bytes=0-", "bytes=9-1"],
    "Sec-Fetch-Site": ["same-origin", "cross-site"],
    "X-Form-Token": ["", "0" * 64, "\u00e9"],
    "X-Forwarded-Proto": ["https"],
}  # fmt: skip
BODIES = [b"", b'--x\r\nContent-Disposition: form-data; name="k\r\n', b"--x--", b"[1, 2", b"reason=%ED%A0%80%ff&scan=%"]


@dataclass(frozen=True)
class Sent:
    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes


@dataclass
class Known:
    """What a good request needs: sessions and forms of two readers and the owner of a survey."""

    survey: Served
    operations: list[tuple[str, str, bool]] = field(default_factory=list)
    """Method, path, and whether a form is asked for."""

    def __post_init__(self) -> None:
        paths = self.survey.app().openapi()["paths"]
        self.operations += [
            (method.upper(), path, "requestBody" in operation)
            for path, methods in paths.items()
            for method, operation in methods.items()
        ]
        one, other = (self.survey.client(token) for token in self.survey.readers)
        owner = self.survey.owners_client()
        page = one.get("/scan/1")
        self.form = fields(page)
        pages = (page, other.get("/scan/1"), owner.get("/owner"))
        # Who is in the session, and what their forms bring along.
        self.sessions = [
            ("; ".join(f"{name}={value}" for name, value in client.cookies.items()), form_token(shown)["X-Form-Token"])
            for client, shown in zip((one, other, owner), pages, strict=True)
        ]

    def good(self) -> list[Sent]:
        """One of each kind, as browsers send them."""
        survey, form = self.survey, urlencode(self.form).encode()
        own, _, owner = ({"Cookie": cookie, "X-Form-Token": token} for cookie, token in self.sessions)
        as_reader = [f"/r/{survey.readers[0]}", "/", "/scan/1", f"/image/{self.form['scan']}.nii", "/submit"]
        return [
            *(Sent("GET", path, own, b"") for path in as_reader),
            Sent("POST", "/scan/1", own, form),
            Sent("GET", f"/o/{survey.owner}", owner, b""),
            Sent("GET", "/owner", owner, b""),
            Sent("POST", "/owner/close", owner, b""),
        ]


def requests(known: Known) -> st.SearchStrategy[Sent]:
    return st.sampled_from(known.operations).flatmap(lambda operation: _of(known, *operation))


def _of(known: Known, method: str, path: str, asks: bool) -> st.SearchStrategy[Sent]:
    methods = st.one_of(st.just(method), st.just(method), st.sampled_from(METHODS))
    body = _form(known) if asks else st.sampled_from(BODIES)
    return st.builds(Sent, methods, _path(known, path), _headers(known), body)


def _path(known: Known, path: str) -> st.SearchStrategy[str]:
    """An address of the schema, its parts filled in with good and bad ones."""
    tokens = [*known.survey.readers, known.survey.owner]
    good: dict[str, list[Any]] = {
        "number": [1, 1, 1, 2, 0, 5, -1, 10**30],
        "code": ["en", "it", "xx", "../en"],
        "token": [*tokens, tokens[0][:-1], "x" * 43],
        "scan": [known.form["scan"], "f" * 32, "../secret", "%2e%2e%2fsecret"],
    }
    parts = [
        st.one_of(*[st.sampled_from(good[part[1:-1]])] * 3, st.text(max_size=40))
        if part.startswith("{")
        else st.just(part)
        for part in re.split(r"({\w+})", path)
    ]
    query = st.sampled_from(["", "", "?to=/owner", "?to=//elsewhere.example", "?to[]=%00", "?%ff"])
    return st.tuples(*parts, query).map(lambda made: quote("".join(map(str, made)), safe="/%?=&[]"))


def _headers(known: Known) -> st.SearchStrategy[dict[str, str]]:
    odd = st.sampled_from(sorted(HEADERS)).flatmap(
        lambda name: st.tuples(st.just(name), st.one_of(st.sampled_from(HEADERS[name]), st.text(ASCII, max_size=40)))
    )
    more = st.one_of(st.just({}), st.lists(odd, max_size=3).map(dict))
    return st.tuples(_session(known), more).map(lambda both: both[0] | both[1])


def _session(known: Known) -> st.SearchStrategy[dict[str, str]]:
    """None, a good one, one with somebody else's form, and forged ones."""
    good = st.sampled_from(known.sessions).map(lambda one: {"Cookie": one[0], "X-Form-Token": one[1]})
    mixed = st.tuples(*[st.sampled_from(known.sessions)] * 2).map(
        lambda two: {"Cookie": f"{two[0][0]}; crossmod_language=../it", "X-Form-Token": two[1][1]}
    )
    return st.one_of(
        st.just({}), good, good, good, mixed, st.builds(_bent, good, st.integers(0, 200), st.sampled_from('0aZ.=;" é'))
    )


def _bent(session: dict[str, str], at: int, by: str) -> dict[str, str]:
    cookie = session["Cookie"]
    at %= len(cookie)
    return {**session, "Cookie": cookie[:at] + by + cookie[at + 1 :]}


def _form(known: Known) -> st.SearchStrategy[bytes]:
    text, key = st.text(max_size=40), st.text("0123456789abcdef", min_size=16, max_size=32)
    right = {
        "scan": st.one_of(*[st.just(known.form["scan"])] * 3, text),
        "choice": st.one_of(*[st.sampled_from(CHOICES)] * 3, text),
        "key": st.one_of(key, key, st.just(known.form["key"]), text),
    }
    free = {
        "reason": st.one_of(text, st.sampled_from(["<script>alert(1)</script>", "x" * 2001, "\0", "{{ 7 * 7 }}"])),
        "seconds": st.one_of(st.floats().map(str), text),
        "realism": st.one_of(st.integers(1, 5), st.integers(), text),
        "regions": st.lists(st.one_of(st.sampled_from(REGIONS), text), max_size=8),
        "synthetic": st.just("true"),
    }
    form = st.fixed_dictionaries(right, optional=free).map(lambda made: urlencode(made, doseq=True).encode())
    return st.one_of(form, form, form, form, st.sampled_from(BODIES), st.binary(max_size=100))
