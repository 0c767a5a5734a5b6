"""Warnings of an evaluation."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from crossmod.config import Modality
from crossmod.data.body_mask import FILLED
from crossmod.data.store import listed
from crossmod.evaluation.cases import EvaluationCases, SyntheticModel
from crossmod.evaluation.label_folder import LabelFolder, warnings_of_maps
from crossmod.evaluation.measure import Measured, layer_counts
from crossmod.evaluation.settings import EvaluationSettings
from crossmod.metrics.axial_layers import LAYERS, LOST, Placed
from crossmod.segmentation.predict import Segmenter

# Share of the window: a synthetic CT that ends further inside was cut there.
CUT_SHARE = 0.02
# A covariance of fewer slices is mostly chance.
FEW = 5


def warnings_of(
    question: EvaluationCases,
    settings: EvaluationSettings,
    placed: Mapping[str, Sequence[Placed]],
    measured: Mapping[str, Measured],
    images: Mapping[int, tuple[int, int]],
) -> list[str]:
    """All warnings; one that holds for several sets is given once."""
    sets: dict[str, list[str]] = {}
    for name, own in measured.items():
        for sentence in (*_about_layers(placed[name]), *_about_values(own)):
            sets.setdefault(sentence, []).append(name)
    for model in question.models:
        for sentence in (
            *_about_files(question, model),
            *_about_origin(model),
            *_about_intensity(question.modality, settings, measured[model.name]),
            *_about_patients(question, model),
        ):
            sets.setdefault(sentence, []).append(model.name)
    of_sets = [f"{', '.join(names)}: {sentence}" for sentence, names in sets.items()]
    return [*of_sets, *_about_all(question, settings, measured, images)]


def _about_layers(cases: Sequence[Placed]) -> Iterator[str]:
    count = layer_counts(cases)
    empty = [layer for layer in range(1, LAYERS + 1) if count[layer - 1] == 0]
    single = [layer for layer in range(1, LAYERS + 1) if count[layer - 1] == 1]
    if empty:
        yield f"no slices in {_layers(empty)}; not compared there."
    if single:
        yield f"a single slice in {_layers(single)}, which has no Fréchet and no kernel distance."
    lost = [case.record.id for case in cases if case.rule == LOST]
    if lost:
        yield f"omitted, since one slice shows no end of any organ: {listed(lost)}."
    for rule, many in Counter(case.rule for case in cases if case.rule.startswith(("scan", "lungs"))).items():
        yield (
            f"the layers of {many} case{'s' * (many != 1)} were placed by `{rule}`, which is inaccurate: slices of "
            "different heights may be compared. Give labels of liver and kidneys, or the source (--source)."
        )


def _layers(numbers: Sequence[int]) -> str:
    return f"layer{'s' * (len(numbers) != 1)} {', '.join(map(str, numbers))}"


def _about_values(measured: Measured) -> Iterator[str]:
    if measured.still:
        yield (
            f"{measured.still} of {len(measured.rows)} slices have a single value. They have no spectrum; the "
            "correlations of a layer of such slices are undefined."
        )
    if measured.filled:
        yield (
            f"more than {FILLED:.0%} of the slices of {measured.filled} case{'s' * (measured.filled != 1)} are taken "
            "for body: the field of view lies inside the body, or its outline was not found. Whole slices are "
            "then used instead of the body."
        )


def _about_origin(model: SyntheticModel) -> Iterator[str]:
    if not any(record.synthetic for record in model.records):
        yield (
            "the store does not say how its images were made: the training patients are unknown, and layers are placed "
            "by the images."
        )
    if all(r.synthetic and r.slices_with and max(r.slices_with.values()) == r.shape[0] for r in model.records):
        yield (
            "slices with the organ only. Near the organ's ends they are compared with real slices without it; "
            "`synthesize --slices all` makes the rest."
        )
    if len({record.patient for record in model.records}) < 2:
        yield "one patient only: no score has an interval."


def _about_files(question: EvaluationCases, model: SyntheticModel) -> Iterator[str]:
    own = {case.sha256 for case in (*question.reference, *question.held)}
    same = sum(record.sha256 in own for record in model.records)
    if same:
        yield f"{same} of {len(model.records)} cases are the real ones themselves, file for file."
    sizes = {record.shape[1:] for record in model.records} - {(question.size, question.size)}
    if sizes:
        shown = ", ".join(f"{rows} x {columns}" for rows, columns in sorted(sizes))
        yield f"slices of {shown} were resampled to {question.size} x {question.size}."
    scale = question.scale
    own = {record.synthetic.pixel_mm for record in model.records if record.synthetic}
    if scale.pixel_mm and own - {scale.pixel_mm}:
        pixels = " and ".join(f"{mm:g} mm" if mm else "the whole field of view, stretched" for mm in sorted(own))
        yield f"made in pixels of {pixels}, and resampled to {scale.pixel_mm:g} mm."


def _about_intensity(modality: Modality, settings: EvaluationSettings, measured: Measured) -> Iterator[str]:
    low, high = settings.window
    slack = CUT_SHARE * (high - low)
    least, most = measured.values
    if modality != "ct" or (least <= low + slack and most >= high - slack):
        return
    yield (
        f"values from {least:.0f} to {most:.0f} HU only: part of the distance is due to another window. Give "
        "the window that the model was trained with as --window."
    )


def _about_patients(question: EvaluationCases, model: SyntheticModel) -> Iterator[str]:
    shares = []
    for side, cases in (("reference", question.reference), ("held-out", question.held)):
        seen = {case.patient for case in cases if model.saw(case)}
        if seen:
            shares.append(f"{len(seen)} of {len({case.patient for case in cases})} {side} patients")
    if shares:
        yield (
            f"trained on {' and '.join(shares)}: a model that memorised them seems better than it is. Leave them out "
            "with --unseen, or give a store of other patients."
        )
    both = sorted({case.patient for case in question.reference} & {record.patient for record in model.records})
    if both:
        yield (
            f"{len(both)} of its patients ({listed(both, 3)}) are in the reference as well, so that both sides share "
            "anatomy. Held-out real patients do not: the ratio flatters the model."
        )


def _about_all(
    question: EvaluationCases,
    settings: EvaluationSettings,
    measured: Mapping[str, Measured],
    images: Mapping[int, tuple[int, int]],
) -> Iterator[str]:
    few = [layer for layer, counts in images.items() if 0 < min(counts) < FEW]
    if few:
        yield f"Fewer than {FEW} slices on a side in {_layers(few)}: scores there, and averages, are inaccurate."
    small = sum(max(case.shape[1:]) < question.size for case in (*question.reference, *question.held))
    if small:
        yield (
            f"{small} real case{'s' * (small != 1)} of fewer pixels were enlarged to {question.size}: they lack "
            "the fine detail of synthetic slices. A smaller --size is fairer."
        )
    if question.modality == "ct" and measured["reference"].statistics.tissue is None:
        low, high = settings.window
        yield f"Three bins are left out: the window {low:g} to {high:g} HU does not reach from fluid to bone."
    for side, cases in (("in the reference", question.reference), ("held out", question.held)):
        if len({case.patient for case in cases}) == 1:
            yield f"One real patient only is {side}: no score has an interval, and nothing is shown."


def about_segmenter(question: EvaluationCases, segmenter: Segmenter | LabelFolder | None) -> list[str]:
    """Warnings about the segmenter, or the label maps, that found organs."""
    if segmenter is None:
        return []
    if isinstance(segmenter, LabelFolder):
        return [*segmenter.warnings, *warnings_of_maps(segmenter, question.models)]
    patients = {record.patient for model in question.models for record in model.records}
    known = sorted(patients & question.people.named(segmenter.card["data"]))
    if not known:
        return []
    return [
        f"{segmenter.run} was trained on real images of {len(known)} of the patients that were translated "
        f"({listed(known, 3)}): it may have memorised their organs."
    ]
