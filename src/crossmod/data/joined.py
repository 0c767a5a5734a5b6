"""Several stores as one, such as MR of two hospitals."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from crossmod.data.store import CASE_NAME_LETTERS, CaseRecord, Store


class JoinedStore(Store):
    """The cases of several stores; its path is that of the first.

    A case name that two stores have gets the store's name before it. Who is one person is not decided here, but in
    `crossmod.data.people`.
    """

    def __init__(self, parts: Sequence[Store]):
        self._parts = tuple(parts)
        self.path = parts[0].path
        self._home: dict[str, tuple[Store, str]] = {}
        cases: list[CaseRecord] = []
        known = Counter(case.id for part in parts for case in part.cases)
        for part, label in zip(parts, distinct_names([part.path for part in parts]), strict=True):
            for case in part.cases:
                name = case.id if known[case.id] == 1 else f"{label}.{case.id}"
                self._home[name] = part, case.id
                cases.append(case.model_copy(update={"id": name}))
        self.cases = tuple(cases)

    @property
    def parts(self) -> tuple[Store, ...]:
        """The stores that it is made of."""
        return self._parts

    def file(self, case: str) -> Path:
        """The file of a case, in its own store."""
        part, name = self._home[case]
        return part.file(name)


def open_stores(paths: Path | Sequence[Path]) -> Store:
    """One store, or several as one; a store that is named twice is opened once."""
    several = [paths] if isinstance(paths, Path) else list(paths)
    distinct = {path.resolve(): path for path in several}
    stores = [Store(path) for path in distinct.values()]
    return stores[0] if len(stores) == 1 else JoinedStore(stores)


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """A short name for each of some folders: its own, with those above it where names are alike."""
    parts = [[part for part in path.resolve().parts if part != path.anchor] for path in paths]
    depth = next((n for n in range(1, 99) if len({tuple(one[-n:]) for one in parts}) == len(parts)), 99)
    names = [CASE_NAME_LETTERS.sub("_", "-".join(one[-depth:])).lstrip("._-") or "store" for one in parts]
    return [name if names.count(name) == 1 else f"{name}-{names[:i].count(name) + 1}" for i, name in enumerate(names)]
