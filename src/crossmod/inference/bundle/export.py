"""`crossmod export`: one folder of finished training runs that can be shared.

Notable:
- No names and no paths are written: every field is listed here, and patients are counted only.
- The folder gets its name last, after its content was read back as untrusted.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

from crossmod.engine.checkpoint import weights_hash
from crossmod.errors import InputError
from crossmod.evaluation.result import OWN
from crossmod.files import PathName, atomic_folder, atomic_write, read_json, require_empty, sha256, write_text
from crossmod.inference.bundle import onnx as onnx_export
from crossmod.inference.bundle import schema
from crossmod.inference.bundle.load import read_bundle, read_weights
from crossmod.inference.bundle.model_card import card_of, readme_of, steps_of, training_of
from crossmod.inference.bundle.schema import OF_ABOUT, Bundle, Entry, Score
from crossmod.inference.ensemble import RunNetwork, load_run
from crossmod.inference.trust.similarity import fingerprint_of
from crossmod.metrics.distribution import METRICS
from crossmod.runs import CARD, Run, is_run, open_run
from crossmod.synthesis.families import family_of
from crossmod.synthesis.translator import Epoch
from crossmod.version import __version__

FINDINGS = "findings.json"
# Metrics of `evaluate images` that are written.
IMAGES = ("frechet", "kid", "spectrum")

# Hash of a run's weights -> name of its network in the bundle.
Models = Mapping[str, str]


def scores_of(results: Sequence[Path], models: Models) -> tuple[Score, ...]:
    """Scores of the exported models, from folders of `evaluate images`, of `segment` or of an experiment."""
    scores: list[Score] = []
    for path in results:
        own = list(_scores_in(path, models))
        if not own:
            expected = "a result about an exported model"
            do = "Give a result whose synthetic images were made with this run and epoch, or omit it."
            raise InputError(path, found="scores of other models, or none", expected=expected, do=do)
        scores += own
    return tuple(scores)


def _scores_in(path: Path, models: Models) -> Iterator[Score]:
    if (path / FINDINGS).is_file():
        return _experiment(path, models)
    expected, do = "a folder of `evaluate images`, `segment` or an experiment", "Give another folder."
    if not is_run(path):
        raise InputError(path, found="no result", expected=expected, do="Check the path.")
    run = open_run(path)
    match run.config["kind"]:
        case "evaluate":
            return _images(run, models)
        case "segment":
            return _segment(run, models)
        case kind:
            raise InputError(path, found=f"a run of `{kind}`", expected=expected, do=do)


def _images(run: Run, models: Models) -> Iterator[Score]:
    card = run.card
    for name, about in card["data"]["models"].items():
        for network in _named(about["weights"], models):
            own = card["models"][name]
            people = len(card["data"]["real"].get("held", {}).get("patients", []))
            on = f"{about['slices']} synthetic slices of {len(about['patients'])} patients against {people} real ones"
            for measured in IMAGES:
                metric = METRICS[measured]
                side, unit = ("ratios", ", real against real = 1") if metric.divided else ("scores", "")
                yield from _score(network, metric.title + unit, own[side]["average"][measured], on)
            for organ, summary in own["organs"].items():
                values = [summary["dice"], summary["low"], summary["high"]]
                # Label consistency is by the model's own segmentor.
                which = "label consistency" if summary["found_by"] == OWN else "by another segmenter"
                yield from _score(network, f"{which}, 3D Dice of {organ}", values, on)
            if own["truth"]:
                there = f"{own['truth']['slices']} slices of {own['truth']['patients']} patients with a truth"
                yield from _score(network, f"mean absolute error, {own['truth']['unit']}", own["truth"]["mae"], there)


def _segment(run: Run, models: Models) -> Iterator[Score]:
    card = run.card
    for network in _named(card["data"]["synthetic_models"], models):
        dice = card["scores"]["patient_values"]["dice"].values()
        known = [value for value in dice if value is not None]
        on = f"{len(known)} held-out patients, by a segmenter trained with its synthetic slices"
        mean = sum(known) / len(known) if known else None
        yield from _score(network, "3D Dice", [mean, *card["scores"]["patient_interval"]], on)


def _experiment(path: Path, models: Models) -> Iterator[Score]:
    findings = read_json(path / FINDINGS)
    for arm in findings["arms"]:
        effect = (arm["effects"] or {}).get("dice")
        cards = [path / "runs" / run["run"] / CARD for run in arm["runs"]]
        weights = {model for card in cards if card.is_file() for model in read_json(card)["data"]["synthetic_models"]}
        if effect is None:
            continue
        for network in _named(sorted(weights), models):
            on = f"{effect['patients']} patients, {arm['count']} synthetic slices against none, {effect['seeds']} seeds"
            values = [effect["mean"], effect["low"], effect["high"]]
            yield from _score(network, f"change of 3D Dice of {findings['organ']}", values, on)


def _named(weights: Sequence[str], models: Models) -> list[str]:
    return [models[sha256] for sha256 in weights if sha256 in models]


def _score(network: str, metric: str, values: Sequence[float | None], on: str) -> Iterator[Score]:
    value, low, high = values
    if value is not None:
        yield Score(network=network, metric=metric, value=value, low=low, high=high, on=on)


def export_bundle(
    runs: Sequence[PathName],
    out: PathName,
    *,
    epoch: Epoch = "auto",
    licence: str = "",
    scores: Sequence[PathName] = (),
    onnx: bool = False,
) -> Bundle:
    """Write a bundle; the arguments are those of `crossmod.export_bundle`."""
    paths, out = [Path(run) for run in runs], Path(out)
    if onnx:
        onnx_export.refuse_without_onnx()
    require_empty(out)
    networks: dict[str, RunNetwork] = {}
    for path in paths:
        model = load_run(path, device="cpu", epoch=epoch)
        if model.about.ct_unit != "HU":
            do = "Prepare the CT in HU and train again: a bundle says of its CT that it is in HU."
            raise InputError(path, found=f"a model of CT in an {model.about.ct_unit} unit", expected="CT in HU", do=do)
        name = "ct{:+g}{:+g}".format(*model.about.window)
        if name in networks:
            do = "Export them one by one, or train one of them with another --window."
            raise InputError(path, found=f"a second run of CT window {name[2:]}", expected="one per window", do=do)
        networks[name] = model
    _refuse_different(paths, list(networks.values()))
    known = scores_of([Path(score) for score in scores], {m.about.weights: name for name, m in networks.items()})
    with atomic_folder(out) as folder:
        with atomic_write(folder / schema.WEIGHTS_FILE) as temporary:
            tensors = {
                f"{name}/{part}/{key}": tensor.detach().cpu().float().contiguous()
                for name, model in networks.items()
                for part, network in _parts(model).items()
                for key, tensor in network.state_dict().items()
            }
            save_file(dict(sorted(tensors.items())), temporary)
        files = _onnx_files(networks, folder) if onnx else None
        try:
            bundle = _bundle(out, networks, card_of(networks, licence, known), files, folder)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            do = "Train with other settings; docs/reference/bundle.md has the bounds."
            raise InputError(out, found=f"{where} {first['input']!r}"[:200], expected=first["msg"], do=do) from None
        write_text(folder / schema.README_FILE, readme_of(bundle))
        # Last, since it names all other files.
        bundle = bundle.model_copy(update={"files": _files(folder)})
        text = json.dumps(bundle.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
        write_text(folder / schema.JSON_FILE, text + "\n")
        # What cannot be read again is not exported.
        bundle = read_bundle(folder)
        read_weights(folder, bundle)
    return bundle


def _refuse_different(runs: Sequence[Path], models: Sequence[RunNetwork]) -> None:
    first = models[0].about
    for path, model in zip(runs, models, strict=True):
        for what in ("source", "inputs"):
            have, expected = getattr(model.about, what), getattr(first, what)
            if have != expected:
                do = "Export it separately: the networks of a bundle differ only in their CT window."
                raise InputError(path, found=f"{what} {have}", expected=f"{expected}, as in {runs[0]}", do=do)


def _parts(model: RunNetwork) -> dict[Literal["generator", "segmentor"], nn.Module]:
    S = model.translator.segmentor
    return {"generator": model.translator.generator, **({} if S is None else {"segmentor": S})}


def _onnx_files(networks: Mapping[str, RunNetwork], folder: Path) -> schema.Onnx:
    files: list[schema.OnnxFile] = []
    for name, model in networks.items():
        for part, network in _parts(model).items():
            channels = len(model.about.inputs) * model.about.stack if part == "generator" else 1
            file = f"{name}.{part}.onnx"
            difference = onnx_export.export_onnx(network, folder / file, channels=channels, size=model.about.size)
            files.append(schema.OnnxFile(file=file, network=name, part=part, max_difference=difference))
    return schema.Onnx(opset=onnx_export.OPSET, tolerance=onnx_export.TOLERANCE, files=tuple(files))


def _files(folder: Path) -> dict[str, schema.File]:
    paths = sorted(folder.iterdir(), key=lambda path: (path.name == schema.README_FILE, path))
    return {path.name: schema.File(bytes=path.stat().st_size, sha256=sha256(path)) for path in paths}


def _bundle(
    out: Path, networks: Mapping[str, RunNetwork], card: schema.Card, onnx: schema.Onnx | None, folder: Path
) -> Bundle:
    first = next(iter(networks.values())).about
    return Bundle(
        format=schema.FORMAT,
        crossmod=__version__,
        name=schema.printable(out.resolve().name)[:100],
        source=first.source,
        target=first.target,
        inputs=first.inputs,
        networks=tuple(_entry(name, model) for name, model in networks.items()),
        card=card,
        onnx=onnx,
        files=_files(folder),
    )


def _entry(name: str, model: RunNetwork) -> Entry:
    about, settings, kind = model.about, model.translator.settings, _kind(model)
    return Entry(
        name=name,
        architecture=schema.Architecture(
            kind=kind,
            inputs=len(about.inputs),
            stack=about.stack,
            filters=settings.generator_filters,
            blocks=settings.generator_blocks,
            branch_blocks=settings.branch_blocks if kind in ("merge", "family") else 0,
            classes=1 + len(about.organs) if about.organs else 0,
        ),
        **{field: getattr(about, field) for field in OF_ABOUT},
        steps=tuple(steps_of(about)),
        precision=settings.precision,
        weights=weights_hash({part: network.state_dict() for part, network in _parts(model).items()}),
        run_weights=about.weights,
        epoch="best" if model.translator.best else "last",
        training=training_of(model),
        trained_on={side: schema.Trained.model_validate(counts) for side, counts in about.trained_on.items()},
        fingerprint=fingerprint_of([model]),
    )


def _kind(model: RunNetwork) -> schema.NetworkKind:
    """The generator's architecture; networks of other families are made by their own code."""
    about = model.about
    if about.family not in schema.DESCRIBED:
        return "family"
    if not family_of(about.family).several_inputs:
        return "resnet"
    return "merge" if about.source == "mr" else "spread"
