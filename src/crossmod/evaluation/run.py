"""`evaluate images`: stores of real and synthetic images in, a finished result folder out."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from crossmod.data.store import Store
from crossmod.errors import InputError
from crossmod.evaluation.artifacts import digest, model_draws, save_draws, save_spectra, shown_slices
from crossmod.evaluation.baseline import BaselineComparison, compare_with_baseline
from crossmod.evaluation.cases import EvaluationCases, SyntheticModel, choose_cases, warn_of_bodies
from crossmod.evaluation.measure import Measured, MeasurementSetup, edges_for, layer_counts, measure
from crossmod.evaluation.organs import checksums_of, finder_of, open_finder, organs_of
from crossmod.evaluation.paired import against_truth, truth_of
from crossmod.evaluation.result import data_of, inputs_of, model_of, table_card
from crossmod.evaluation.settings import EvaluationSettings
from crossmod.evaluation.warnings import about_segmenter, warnings_of
from crossmod.files import PathName, lock, to_json
from crossmod.metrics.axial_layers import LAYERS, Placed, place_real, place_synthetic, sources_of
from crossmod.metrics.features import detector
from crossmod.runs import Run, start_run

log = logging.getLogger(__name__)

KIND = "evaluate"


def evaluate_images(
    real: PathName,
    synthetic: Sequence[PathName],
    out: PathName,
    *,
    source: Sequence[PathName] = (),
    truth: PathName | None = None,
    segmenter: PathName | None = None,
    settings: EvaluationSettings | None = None,
) -> Run:
    """Compare synthetic images with real ones; the arguments are those of `crossmod.evaluate_images`."""
    settings, out, began = settings or EvaluationSettings(), Path(out), time.monotonic()
    features = detector(settings.detector)
    stores = [Path(path) for path in synthetic]
    question = choose_cases(Path(real), stores, settings, None if truth is None else Path(truth))
    for line in question.people.lines:
        log.info("%s", line)
    warn_of_bodies(question)
    finder = None if segmenter is None else open_finder(Path(segmenter), question.models)
    sources = sources_of([question.real, *(Store(path) for path in source)])
    inputs = inputs_of(question, sources, question.truth, checksums_of(finder))
    plain_settings = settings.model_dump(mode="json")
    # Also refuses a folder of something else before anything is read.
    if out.exists() and start_run(out, KIND, plain_settings, inputs).finished:
        log.info("%s is finished already.", out)
        return Run(out)
    # Reads all label maps, if there are any: those that cannot be used are refused before images are measured.
    about_finder = about_segmenter(question, finder)
    every = [record for model in question.models for record in model.records]
    known = truth_of(question.truth, question.modality, question.sequence, every) if question.truth is not None else {}
    placed = {
        "reference": place_real(question.real, question.reference),
        "held": place_real(question.real, question.held),
        **{model.name: place_synthetic(model.store, model.records, sources) for model in question.models},
    }
    common = _common_layers(placed)
    edges = edges_for(settings) if question.modality == "ct" else None
    setup = MeasurementSetup(features, edges, question.scale, settings, common)
    measured = {"reference": measure("reference", placed["reference"], setup, keep=True)}
    for name in ("held", *(model.name for model in question.models)):
        measured[name] = measure(name, placed[name], setup, measured["reference"].stacks)
    organs = {m.name: organs_of(m.store, placed[m.name], finder_of(finder, m.name)) for m in question.models}
    paired = {m.name: against_truth(placed[m.name], question.truth, known, settings) for m in question.models}
    run = start_run(out, KIND, plain_settings, inputs)
    with lock(run.path / ".lock"):
        comparison, digests = _score(run.path, question, measured, setup)
        save_spectra(run.path, measured, common)
        card = {
            "settings": plain_settings,
            "modality": question.modality,
            "sequence": question.sequence,
            "size": question.size,
            "frame": question.scale.kind,
            "pixel_mm": question.scale.pixel_mm,
            "detector": {"name": features.name, "sha256": features.sha256},
            "data": data_of(out, question, placed, measured),
            "layers": {
                "common": sorted(common),
                "counts": {name: layer_counts(cases) for name, cases in placed.items()},
                "rules": {name: {case.record.id: case.rule for case in cases} for name, cases in placed.items()},
            },
            "patients": comparison.patients,
            "images": comparison.images,
            "baseline": table_card(comparison.baseline),
            "models": {
                model.name: {
                    **model_of(comparison, digests.get(model.name), measured, model),
                    "organs": organs[model.name],
                    "truth": paired[model.name],
                }
                for model in question.models
            },
            "shown": shown_slices(question, measured),
            "warnings": warnings_of(question, settings, placed, measured, comparison.images) + about_finder,
            "steps": settings.draws,
            "seconds": round(time.monotonic() - began, 1),
            "device": "cpu",
        }
        run.finish(to_json(card))
    return run


def _common_layers(placed: Mapping[str, Sequence[Placed]]) -> frozenset[int]:
    """The layers that all sets show."""
    counts = {name: layer_counts(cases) for name, cases in placed.items()}
    common = frozenset(n for n in range(1, LAYERS + 1) if all(count[n - 1] for count in counts.values()))
    if not common:
        shown = "; ".join(f"{name}: {sum(count)} slices in layers" for name, count in counts.items())
        do = "Give labelled cases, or --source with the scans that the synthetic ones were made from."
        raise InputError("axial layers", found=shown, expected="a layer that all sets show", do=do)
    return common


def _score(
    folder: Path, question: EvaluationCases, measured: Mapping[str, Measured], setup: MeasurementSetup
) -> tuple[BaselineComparison, dict[str, str]]:
    """Score all models, keep their draws in `folder`, and give the digest of each model with draws."""
    settings, reference = setup.settings, measured["reference"].statistics
    statistics = {model.name: measured[model.name].statistics for model in question.models}
    log.info(
        "Scoring %d set%s and the baseline against %d real slices, with %d draws of patients each.",
        len(statistics), "s" * (len(statistics) != 1), len(reference), settings.draws,
    )  # fmt: skip
    comparison = compare_with_baseline(
        reference, measured["held"].statistics, statistics, seed=settings.seed, draws=settings.draws
    )
    # All draws of one patient are equal: they show no difference.
    several = {name: own for name, own in statistics.items() if len(set(own.patients)) > 1}
    if settings.draws == 0 or len(set(reference.patients)) < 2:
        several = {}
    names = [model.name for model in question.models]
    save_draws(folder, model_draws(reference, several, settings.seed, settings.draws), names)
    about = {
        "settings": settings.model_dump(mode="json", include={"window", "percentiles", "seed", "draws", "inside"}),
        "detector": setup.detector.sha256,
        "size": question.size,
        # Not in stretched frames, so that results from before there were millimetres can still be paired.
        **({"frame": question.scale.kind, "pixel_mm": question.scale.pixel_mm} if question.scale.pixel_mm else {}),
        "common": sorted(setup.common),
        "real": [case.sha256 for case in question.reference],
    }
    digests = {
        model.name: digest(measured["reference"], measured[model.name], _origins(model), about)
        for model in question.models
        if model.name in several
    }
    return comparison, digests


def _origins(model: SyntheticModel) -> dict[str, str]:
    """Case -> checksum of its source, or of the case itself if that is unknown."""
    return {r.id: r.synthetic.source_sha256 if r.synthetic else r.sha256 for r in model.records}
