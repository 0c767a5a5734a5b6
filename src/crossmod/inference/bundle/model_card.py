"""The model card of a bundle, as data and as `README.md`."""

from collections.abc import Iterator, Mapping

from crossmod.inference.bundle.schema import JSON_FILE, NOTICE, WEIGHTS_FILE, Bundle, Card, Entry, Score, printable
from crossmod.inference.ensemble import RunNetwork
from crossmod.inference.types import About
from crossmod.synthesis.families import family_of
from crossmod.version import __version__

# Settings that are published: listed, so that no later setting discloses a patient's name or a path.
PUBLISHED = (
    "epochs", "batch_size", "learning_rate", "discriminator_learning_rate", "beta_1", "decay", "ema", "adversarial",
    "bounded_logits", "lambda_1", "lambda_2", "lambda_3", "lambda_4", "lambda_5", "pool_size", "slices", "ct_slices",
    "mr_slices", "load_size", "contrast", "split", "seed", "select_every", "discriminator_filters",
    "discriminator_layers",
)  # fmt: skip

STACK = (
    "{} slices, {:.1f} mm apart or the nearest to it, go in together: the slice itself, then the next ones towards the "
    "feet and the head; the first of the output slices is the result."
)


def training_of(model: RunNetwork) -> dict[str, bool | int | float | str | None]:
    """Settings of the training, for people."""
    settings = model.translator.settings.model_dump(mode="json")
    return {**{name: settings[name] for name in PUBLISHED}, "steps": int(model.translator.card["steps"])}


def steps_of(about: About) -> list[str]:
    """Pre- and postprocessing of a slice, in words."""
    window = f"{about.window[0]:g} to {about.window[1]:g} HU"
    share = f"percentiles {about.percentiles[0]:g} to {about.percentiles[1]:g} of each volume"
    field = "unknown" if about.field_mm is None else f"{about.field_mm:.0f} mm a side (median)"
    unit = "HU" if about.target == "ct" else "units of the middle training volume"
    return [
        *_pixels_of(about, field),
        *([] if about.stack_mm is None else [STACK.format(about.stack, about.stack_mm)]),
        f"{about.source.upper()} in: {window if about.source == 'ct' else share} become -1 to 1; "
        "values outside are cut.",
        f"{about.target.upper()} out: -1 to 1 become {about.low:g} to {about.high:g} ({unit}).",
    ]


def _pixels_of(about: About, field: str) -> list[str]:
    axial = "Axial slices, front of the patient at the top and right side at the left"
    kernel = "linearly, with a wider kernel where pixels are merged"
    if about.frame == "stretch":
        return [
            f"{axial}, padded with the volume's lowest value to a square in millimetres.",
            f"Resampled over that square to {about.size} x {about.size} pixels, {kernel}; field of the training "
            f"slices: {field}.",
        ]
    around = "the middle of the body" if about.frame == "body" else "the middle of the field of view"
    return [
        f"{axial}, resampled to pixels of {about.pixel_mm:g} mm, {kernel}.",
        f"Cut, or padded with the volume's lowest value, to {about.size} x {about.size} pixels "
        f"({about.size * about.pixel_mm:.0f} mm) around {around}; nothing is stretched.",
    ]


def card_of(networks: Mapping[str, RunNetwork], licence: str, scores: tuple[Score, ...]) -> Card:
    """The card of a bundle."""
    models = list(networks.values())
    first = models[0].about
    use = (
        f"Research: translates real {first.source.upper()} of the same kind as its training data to synthetic "
        f"{first.target.upper()}, to train or test other methods."
    )
    papers = dict.fromkeys(filter(None, (family_of(model.about.family).reference for model in models)))
    return Card(
        intended_use=use,
        limits=tuple(_limits(models)),
        notice=NOTICE,
        licence=printable(licence),
        citation=f"{'; '.join([*papers, f'crossmod {__version__}'])}",
        scores=scores,
    )


def _limits(models: list[RunNetwork]) -> list[str]:
    first = models[0].about
    windows = ", ".join(f"{m.about.window[0]:g} to {m.about.window[1]:g} HU" for m in models)
    limits = [
        f"Not for diagnosis, not for planning a treatment: its {first.target.upper()} is synthetic.",
        f"Trained on {'; '.join(dict.fromkeys(_people(m.about) for m in models))}. Other scanners, protocols, ages and "
        "parts of the body are unknown to it.",
        f"CT outside {windows} is unknown to it.",
        "It can move, remove or invent anatomy, small lesions above all.",
        "The output for a slice of a single value is undefined, since each slice is divided by its standard deviation.",
    ]
    if first.target == "mr":
        limits.append("MR has no units: the output has those of one training volume.")
    if any(m.translator.card["leaking"] for m in models):
        limits.append("Trained with a split by slice: scores on the other slices of its patients are too good.")
    return limits


def _people(about: About) -> str:
    return " and ".join(f"{one['patients']} {side.upper()} patients" for side, one in about.trained_on.items())


def readme_of(bundle: Bundle) -> str:
    """The model card in Markdown."""
    return "\n".join(_lines(bundle)) + "\n"


def _lines(bundle: Bundle) -> Iterator[str]:
    card = bundle.card
    yield from (f"# {bundle.name}", "", f"{bundle.source.upper()} to {bundle.target.upper()}: **{card.notice}**.", "")
    yield from (card.intended_use, "", f"    crossmod translate {_quoted(bundle.name)} INPUT OUTPUT", "")
    yield from ("## Limits", "", *(f"- {limit}" for limit in card.limits), "")
    for entry in bundle.networks:
        yield from _network(bundle, entry)
    yield from ("## Scores", "", *_scores(card.scores), "")
    yield from ("## Files", "", *_files(bundle), "")
    yield from ("## Licence", "", card.licence or "Not stated: ask the author before using it.", "")
    yield from ("## Citation", "", card.citation)


def _quoted(name: str) -> str:
    return f'"{name}"' if " " in name else name


def _network(bundle: Bundle, entry: Entry) -> Iterator[str]:
    a = entry.architecture
    yield from (f"## Network {entry.name}", "")
    yield f"- Family {entry.family}: {a.kind}, {a.filters} filters, {a.blocks} residual blocks, {a.inputs} inputs."
    yield f"- Goes in: {', '.join(bundle.inputs)}."
    yield from (f"- {step}" for step in entry.steps)
    if entry.organs:
        yield f"- Its segmentor S finds: {', '.join(entry.organs)}."
    sides = [
        f"{each.slices} {side.upper()} slices of {each.patients} patient{'s' * (each.patients != 1)}"
        for side, each in entry.trained_on.items()
    ]
    yield f"- Trained on {' and '.join(sides)} by crossmod {entry.version}; the {entry.epoch} epoch."
    yield from (f"- SHA-256 of its weights: `{entry.weights}`", "")


def _scores(scores: tuple[Score, ...]) -> Iterator[str]:
    if not scores:
        yield "None were given: the quality of its images is unknown."
        return
    yield from ("| network | score | value | 95 % interval | on |", "| --- | --- | --- | --- | --- |")
    for each in scores:
        ends = "not known" if each.low is None or each.high is None else f"{each.low:.3g} to {each.high:.3g}"
        yield f"| {each.network} | {each.metric} | {each.value:.3g} | {ends} | {each.on} |"


def _files(bundle: Bundle) -> Iterator[str]:
    yield f"- `{JSON_FILE}`: all of this page and more, for programs."
    yield f"- `{WEIGHTS_FILE}`: the weights, SHA-256 `{bundle.files[WEIGHTS_FILE].sha256}`"
    if bundle.onnx is None:
        return
    for each in bundle.onnx.files:
        yield (
            f"- `{each.file}`: {each.part} as ONNX (opset {bundle.onnx.opset}), at most {each.max_difference:.1e} "
            f"away from PyTorch, SHA-256 `{bundle.files[each.file].sha256}`"
        )
