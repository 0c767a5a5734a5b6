"""Texts of the pages: one YAML file per language, all with the same keys."""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

import yaml

FALLBACK = "en"


class Words:
    """The texts of one language, by key, with fields such as `{number}`."""

    def __init__(self, code: str, texts: Mapping[str, str]):
        self.code, self.texts = code, texts

    def __call__(self, key: str, **values: object) -> str:
        """One text with its fields filled in."""
        return self.texts[key].format(**values)


@cache
def languages() -> dict[str, Words]:
    """All languages, by code; `name` is the language's own name."""
    found = sorted((files("crossmod.reader") / "texts").iterdir(), key=lambda file: file.name)
    read = {file.name.removesuffix(".yaml"): yaml.safe_load(file.read_text("utf-8")) for file in found}
    return {code: Words(code, texts) for code, texts in read.items()}


def words(codes: Iterable[str | None]) -> Words:
    """The first available language."""
    available = languages()
    return next((available[code] for code in codes if code in available), available[FALLBACK])


def accepted(header: str) -> list[str]:
    """The languages of an Accept-Language header, best first; beyond 200 characters it is ignored."""
    ranked = []
    for part in header[:200].split(","):
        code, _, weight = part.strip().partition(";q=")
        ranked.append((_weight(weight), code.partition("-")[0].lower()))
    return [code for weight, code in sorted(ranked, key=lambda pair: -pair[0]) if weight > 0]


def _weight(text: str) -> float:
    try:
        return float(text or "1")
    except ValueError:
        return 0.0
