"""What an evaluation compares: its settings and cases, checked before images are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossmod.config import Modality
from crossmod.data.people import People, who_is_who
from crossmod.data.pixel_size import Scale, extents, side_extent, warn_of_pair, warn_of_sizes
from crossmod.data.store import CaseRecord, Store, listed
from crossmod.data.units import one_unit
from crossmod.errors import InputError
from crossmod.evaluation.baseline import hold_out
from crossmod.evaluation.settings import EvaluationSettings

# Names of the two sets of real cases.
TAKEN = ("reference", "held")


@dataclass(frozen=True, eq=False)
class SyntheticModel:
    """The images made by one model."""

    name: str
    store: Store
    records: tuple[CaseRecord, ...]  # the evaluated cases, sorted by name
    trained_on: frozenset[str] = frozenset()  # the people that it was trained on; none if its images do not say

    @property
    def trained_cases(self) -> frozenset[str]:
        """Checksums of its training cases."""
        return frozenset(case for record in self.records if record.synthetic for case in record.synthetic.trained_cases)

    def saw(self, record: CaseRecord) -> bool:
        """Whether the model was trained on a real case, under any name."""
        return record.patient in self.trained_on or record.sha256 in self.trained_cases


@dataclass(frozen=True, eq=False)
class EvaluationCases:
    """All that is compared."""

    modality: Modality
    sequence: str | None  # of the real cases, if they have one
    real: Store
    reference: tuple[CaseRecord, ...]  # real cases on one side of every comparison
    held: tuple[CaseRecord, ...]  # real cases of other patients, for the baseline
    models: tuple[SyntheticModel, ...]
    people: People  # identifies persons across stores
    scale: Scale  # millimetres and pixels of the compared slices
    truth: Store | None = None  # store with real images of the translated people

    @property
    def size(self) -> int:
        """Pixels per side."""
        return self.scale.size


def choose_cases(
    real: Path, synthetic: Sequence[Path], settings: EvaluationSettings, truth: Path | None = None
) -> EvaluationCases:
    """Choose the cases of both sides."""
    if not synthetic:
        do = "Give one or more stores made by `synthesize`."
        raise InputError("evaluate images", found="no synthetic store", expected="one or more", do=do)
    opened = [Store(path) for path in (real, *synthetic, *((truth,) if truth is not None else ()))]
    # Without other identification equal case names are one person, which never flatters a model.
    people = who_is_who(opened, same_people=settings.same_people, ask=False)
    store, *stores = people.stores[: 1 + len(synthetic)]
    modality = _modality(store, stores)
    sequence = settings.sequence or _sequence(stores, modality)
    models = tuple(
        _model(name, own, _records(own, modality, sequence), people)
        for name, own in zip(_names(stores), stores, strict=True)
    )
    cases = store.select(modality, sequence=sequence)
    one_unit(real, [(case.id, case.unit) for case in (*cases, *(r for model in models for r in model.records))])
    if settings.unseen:
        cases = tuple(case for case in cases if not any(model.saw(case) for model in models))
        if len({case.patient for case in cases}) < 2:
            found = f"{listed(case.patient for case in cases) or 'no patient'}, when those trained on are left out"
            raise InputError(real, found=found, expected="two real patients or more", do="Omit --unseen.")
    reference, held = hold_out([case.patient for case in cases], settings.seed)
    return EvaluationCases(
        modality=modality,
        sequence=sequence,
        real=store,
        reference=tuple(case for case in cases if case.patient in reference),
        held=tuple(case for case in cases if case.patient in held),
        models=models,
        people=people,
        scale=_scale(models, settings),
        truth=people.stores[-1] if truth is not None else None,
    )


def warn_of_bodies(question: EvaluationCases) -> None:
    """Warn of real cases with an implausible or deviating body size, and of models whose bodies differ in size."""
    real = extents(question.real, (*question.reference, *question.held))
    name = str(question.real.path)
    warn_of_sizes(name, real)
    for model in question.models:
        warn_of_pair(name, side_extent(real), str(model.store.path), side_extent(extents(model.store, model.records)))


def _model(name: str, store: Store, records: tuple[CaseRecord, ...], people: People) -> SyntheticModel:
    named = {person for record in records if record.synthetic for person in people.trained_on(record)}
    return SyntheticModel(name, store, records, frozenset(named))


def _scale(models: Sequence[SyntheticModel], settings: EvaluationSettings) -> Scale:
    """The pixels of the synthetic slices, the widest field in the fewest pixels; stretched only if all models are."""
    records = [record for model in models for record in model.records]
    size = settings.size or min(max(record.shape[1:]) for record in records)
    framed = [(r.synthetic, r.shape[1]) for r in records if r.synthetic and r.synthetic.pixel_mm]
    if not framed:
        return Scale("stretch", size, 0.0)
    field_mm = max(origin.pixel_mm * pixels for origin, pixels in framed)
    kind = "body" if any(origin.frame == "body" for origin, _ in framed) else "field"
    return Scale(kind, size, round(field_mm / size, 6))


def _modality(real: Store, stores: Sequence[Store]) -> Modality:
    """The modality of all synthetic stores; if there are two, that of the real store."""
    held = [{case.modality for case in _made(store)} for store in stores]
    common = set.intersection(*held)
    if not common:
        pairs = zip(stores, held, strict=True)
        found = " and ".join(f"{store.path.name} of {' and '.join(sorted(m)) or 'nothing'}" for store, m in pairs)
        do = "Evaluate each modality separately."
        raise InputError("synthetic stores", found=found, expected="images of one modality", do=do)
    fitting = common if len(common) == 1 else common & {case.modality for case in real.cases}
    if len(fitting) != 1:
        found = "CT and MR on both sides, none marked as synthetic"
        do = "Prepare a separate store of the modality to evaluate."
        raise InputError(stores[0].path, found=found, expected="one modality", do=do)
    return fitting.pop()


def _made(store: Store) -> tuple[CaseRecord, ...]:
    """The synthetic cases; all cases of a store without any."""
    return tuple(case for case in store.cases if case.synthetic) or store.cases


def _sequence(stores: Sequence[Store], modality: Modality) -> str | None:
    named = {case.sequence for store in stores for case in _made(store) if case.modality == modality}
    named.discard(None)
    if len(named) > 1:
        found = f"images of several sequences ({', '.join(sorted(map(str, named)))})"
        do = "Evaluate each sequence separately, or name one with --sequence."
        raise InputError("synthetic stores", found=found, expected="one", do=do)
    return named.pop() if named else None


def _records(store: Store, modality: Modality, sequence: str | None) -> tuple[CaseRecord, ...]:
    cases = [case for case in _made(store) if case.modality == modality]
    fitting = [case for case in cases if None in (sequence, case.sequence) or case.sequence == sequence]
    if not fitting:
        found = f"images of {', '.join(sorted({str(case.sequence) for case in cases}))}"
        do = "Name the sequence that was synthesized, or omit --sequence."
        raise InputError(store.path, found=found, expected=f"sequence {sequence}", do=do)
    return tuple(sorted(fitting, key=lambda case: case.id))


def _names(stores: Sequence[Store]) -> list[str]:
    """The stores' folder names, with the parent folder if two are equal."""
    paths = [store.path.resolve() for store in stores]
    if len(set(paths)) < len(paths):
        raise InputError("synthetic stores", found="one store twice", expected="each once", do="Omit one.")
    short = [path.name for path in paths]
    short += TAKEN
    names = [path.name if short.count(path.name) == 1 else f"{path.parent.name}/{path.name}" for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
