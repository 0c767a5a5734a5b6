"""What a reader must know before believing a judgement: sentences that follow what was found."""

from collections import Counter
from collections.abc import Mapping, Sequence

from crossmod.config import Modality
from crossmod.data.body_mask import FILLED
from crossmod.data.store import listed
from crossmod.evaluation.cases import EvaluationCases, SyntheticModel
from crossmod.evaluation.measure import Measured, layer_counts
from crossmod.metrics.axial_layers import LAYERS
from crossmod.metrics.slice_positions import LOST, Placed
from crossmod.segmentation.predict import Segmenter
from crossmod.settings import EvaluationSettings

# Of the window: a synthetic CT that ends this far inside of it was cut there.
CUT_SHARE = 0.02
# A covariance of so few slices is nearly all chance.
FEW = 5


def notes(
    question: EvaluationCases,
    settings: EvaluationSettings,
    placed: Mapping[str, Sequence[Placed]],
    measured: Mapping[str, Measured],
    images: Mapping[int, tuple[int, int]],
) -> list[str]:
    """All that is to be warned of; what holds of several sets is said once.

    Args:
        question: what was compared.
        settings: and how.
        placed: set -> its cases with their layers; the real ones are `reference` and `held`.
        measured: set -> its numbers.
        images: layer -> slices of the reference, and of each other set, that were compared.
    """
    said: dict[str, list[str]] = {}
    for name, one in measured.items():
        for sentence in (*_about_layers(placed[name]), *_about_values(one)):
            said.setdefault(sentence, []).append(name)
    for model in question.models:
        about = (
            *_about_origin(model),
            *_about_intensity(question.modality, settings, measured[model.name]),
            *_about_patients(question, model),
        )
        for sentence in (*_about_files(question, model), *about):
            said.setdefault(sentence, []).append(model.name)
    return [f"{', '.join(names)}: {sentence}" for sentence, names in said.items()] + _about_all(
        question, settings, measured, images
    )


def _about_layers(cases: Sequence[Placed]) -> list[str]:
    found = []
    count = layer_counts(cases)
    empty = [layer for layer in range(1, LAYERS + 1) if count[layer - 1] == 0]
    single = [layer for layer in range(1, LAYERS + 1) if count[layer - 1] == 1]
    if empty:
        found.append(f"no slices in {_layers(empty)}; not compared there.")
    if single:
        found.append(f"a single slice in {_layers(single)}, which has no Fréchet and no kernel distance.")
    lost = [case.record.id for case in cases if case.rule == LOST]
    if lost:
        found.append(f"left out, since one slice shows no end of any organ: {listed(lost)}.")
    for rule, many in Counter(case.rule for case in cases if case.rule.startswith(("scan", "lungs"))).items():
        found.append(
            f"the layers of {many} case{'s' * (many != 1)} were placed by `{rule}`, which is rough: slices of other "
            "heights may be compared. Give labels of liver and kidneys, or the source (--source)."
        )
    return found


def _layers(numbers: Sequence[int]) -> str:
    return f"layer{'s' * (len(numbers) != 1)} {', '.join(map(str, numbers))}"


def _about_values(measured: Measured) -> list[str]:
    found = []
    if measured.still:
        found.append(
            f"{measured.still} of {len(measured.rows)} slices are of one value all over. They have no spectrum; "
            "where a whole layer is so, its correlations are undefined."
        )
    if measured.filled:
        found.append(
            f"more than {FILLED:.0%} of the slices of {measured.filled} case{'s' * (measured.filled != 1)} are taken "
            "for body: the field of view lies inside the body, or its outline was not found. What is computed inside "
            "the body is then computed on whole slices."
        )
    return found


def _about_origin(model: SyntheticModel) -> list[str]:
    found = []
    if not any(record.synthetic for record in model.records):
        found.append(
            "the store does not say how its images were made: who they were trained on is unknown, and layers are "
            "placed by what the images show."
        )
    if all(r.synthetic and r.slices_with and max(r.slices_with.values()) == r.shape[0] for r in model.records):
        found.append(
            "slices with the organ only. Near the organ's ends real slices without it stand against them; "
            "`synthesize --slices all` makes the rest."
        )
    if len({record.patient for record in model.records}) < 2:
        found.append("of one patient: no score has an interval.")
    return found


def _about_files(question: EvaluationCases, model: SyntheticModel) -> list[str]:
    found = []
    own = {case.sha256 for case in (*question.reference, *question.held)}
    same = sum(record.sha256 in own for record in model.records)
    if same:
        found.append(f"{same} of {len(model.records)} cases are the real ones themselves, file for file.")
    sizes = {record.shape[1:] for record in model.records} - {(question.size, question.size)}
    if sizes:
        shown = ", ".join(f"{rows} x {columns}" for rows, columns in sorted(sizes))
        found.append(f"slices of {shown} were resampled to {question.size} x {question.size}.")
    scale = question.scale
    own = {record.synthetic.pixel_mm for record in model.records if record.synthetic}
    if scale.pixel_mm and own - {scale.pixel_mm}:
        told = " and ".join(f"{mm:g} mm" if mm else "the whole field of view, stretched" for mm in sorted(own))
        found.append(f"made in other pixels ({told}) than are compared ({scale.pixel_mm:g} mm), and resampled.")
    return found


def _about_intensity(modality: Modality, settings: EvaluationSettings, measured: Measured) -> list[str]:
    low, high = settings.window
    slack = CUT_SHARE * (high - low)
    least, most = measured.values
    if modality != "ct" or (least <= low + slack and most >= high - slack):
        return []
    return [
        f"values from {least:.0f} to {most:.0f} HU only: a part of the distance is that of another window. Give the "
        "one that the model was trained with as --window."
    ]


def _about_patients(question: EvaluationCases, model: SyntheticModel) -> list[str]:
    found, shares = [], []
    for side, cases in (("reference", question.reference), ("held-apart", question.held)):
        seen = {case.patient for case in cases if model.saw(case)}
        if seen:
            shares.append(f"{len(seen)} of {len({case.patient for case in cases})} {side} patients")
    if shares:
        found.append(
            f"trained on {' and '.join(shares)}: what a model remembers of them counts as quality. Leave them out with "
            "--unseen, or give a store of other patients."
        )
    both = sorted({case.patient for case in question.reference} & {record.patient for record in model.records})
    if both:
        found.append(
            f"{len(both)} of its patients ({listed(both, 3)}) are in the reference as well, so that one anatomy stands "
            "on both sides. Real patients held apart are others: the ratio flatters the model."
        )
    return found


def _about_all(
    question: EvaluationCases,
    settings: EvaluationSettings,
    measured: Mapping[str, Measured],
    images: Mapping[int, tuple[int, int]],
) -> list[str]:
    found = []
    few = [layer for layer, counts in images.items() if 0 < min(counts) < FEW]
    if few:
        found.append(f"Fewer than {FEW} slices a side in {_layers(few)}: scores there are rough, and so are averages.")
    small = sum(max(case.shape[1:]) < question.size for case in (*question.reference, *question.held))
    if small:
        found.append(
            f"{small} real case{'s' * (small != 1)} of fewer pixels were enlarged to {question.size}: what is fine in "
            "synthetic slices has no like in them. A smaller --size is fairer."
        )
    if question.modality == "ct" and measured["reference"].statistics.tissue is None:
        low, high = settings.window
        found.append(f"Three bins are left out: the window {low:g} to {high:g} HU does not reach from fluid to bone.")
    for side, cases in (("in the reference", question.reference), ("held apart", question.held)):
        if len({case.patient for case in cases}) == 1:
            found.append(f"One real patient only is {side}: no score has an interval, and nothing is shown.")
    return found


def about_segmenter(question: EvaluationCases, segmenter: Segmenter | None) -> list[str]:
    """What is to be known of who looked for organs."""
    if segmenter is None:
        return []
    patients = {record.patient for model in question.models for record in model.records}
    known = sorted(patients & question.people.named(segmenter.card["data"]))
    if not known:
        return []
    return [
        f"{segmenter.run} was trained on real images of {len(known)} of the patients that were translated "
        f"({listed(known, 3)}): it may find their organs where it remembers them."
    ]
