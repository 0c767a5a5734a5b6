"""`README.md` of a bundle: its card for people, out of `bundle.json` alone."""

from collections.abc import Iterator

from crossmod.inference.bundle.format import JSON_FILE, WEIGHTS_FILE, Bundle, Entry, Score


def readme_of(bundle: Bundle) -> str:
    """The model card in Markdown."""
    return "\n".join(_lines(bundle)) + "\n"


def _lines(bundle: Bundle) -> Iterator[str]:
    card = bundle.card
    yield from (f"# {bundle.name}", "", f"{bundle.source.upper()} to {bundle.target.upper()}: **{card.notice}**.", "")
    yield from (card.intended_use, "", f"    crossmod translate {_quoted(bundle.name)} INPUT OUTPUT", "")
    yield from ("## Limits", "", *(f"- {one}" for one in card.limits), "")
    for entry in bundle.networks:
        yield from _network(bundle, entry)
    yield from ("## Scores", "", *_scores(card.scores), "")
    yield from ("## Files", "", *_files(bundle), "")
    yield from ("## Licence", "", card.licence or "Not stated by who made the bundle: ask before using it.", "")
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
        f"{one.slices} {side.upper()} slices of {one.patients} patient{'s' * (one.patients != 1)}"
        for side, one in entry.trained_on.items()
    ]
    yield f"- Trained on {' and '.join(sides)} by crossmod {entry.version}; the {entry.epoch} epoch."
    yield from (f"- SHA-256 of its weights: `{entry.weights}`", "")


def _scores(scores: tuple[Score, ...]) -> Iterator[str]:
    if not scores:
        yield "None were given: nothing is known of what its images are worth."
        return
    yield from ("| network | score | value | 95 % interval | on |", "| --- | --- | --- | --- | --- |")
    for one in scores:
        ends = "not known" if one.low is None or one.high is None else f"{one.low:.3g} to {one.high:.3g}"
        yield f"| {one.network} | {one.metric} | {one.value:.3g} | {ends} | {one.on} |"


def _files(bundle: Bundle) -> Iterator[str]:
    yield f"- `{JSON_FILE}`: all of this page and more, for programs."
    yield f"- `{WEIGHTS_FILE}`: the weights, SHA-256 `{bundle.files[WEIGHTS_FILE].sha256}`"
    if bundle.onnx is None:
        return
    for one in bundle.onnx.files:
        yield (
            f"- `{one.file}`: {one.part} as ONNX (opset {bundle.onnx.opset}), at most {one.max_difference:.1e} "
            f"away from PyTorch, SHA-256 `{bundle.files[one.file].sha256}`"
        )
