"""Several stores as one, such as MR of two hospitals."""

from collections.abc import Sequence
from pathlib import Path

from crossmod.data.store import CaseRecord, Store
from crossmod.errors import InputError


class JoinedStore(Store):
    """The cases of several stores; its path is that of the first.

    Raises:
        InputError: no store, a folder that is none, or a case or patient that two of them hold.
    """

    def __init__(self, paths: Sequence[Path]):
        self._stores = [Store(path) for path in paths]
        self.path = paths[0]
        self._home: dict[str, Store] = {}
        cases: list[CaseRecord] = []
        patients: dict[str, Store] = {}
        for store in self._stores:
            for case in store.cases:
                for name, known in ((case.id, self._home), (case.patient, patients)):
                    other = known.setdefault(name, store)
                    if other is not store:
                        found = f"{name} in {other.path} and in {store.path}"
                        do = "Prepare one of them with another --name."
                        raise InputError("stores", found=found, wanted="each case in one store", do=do)
                cases.append(case)
        self.cases = tuple(cases)

    def file(self, case: str) -> Path:
        """The file of a case, in its own store."""
        return self._home[case].file(case)


def open_stores(paths: Path | Sequence[Path]) -> Store:
    """One store, or several as one."""
    several = [paths] if isinstance(paths, Path) else list(paths)
    return Store(several[0]) if len(several) == 1 else JoinedStore(several)
