"""`evaluate images`: stores of real and synthetic images in, a finished result folder out."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossmod.data.store import CaseRecord, Store
from crossmod.errors import InputError
from crossmod.evaluation.artifacts import digest, model_draws, save_draws, save_spectra, shown_slices
from crossmod.evaluation.baseline import BaselineComparison, judge
from crossmod.evaluation.cases import EvaluationCases, SyntheticModel, choose_cases, warn_of_bodies
from crossmod.evaluation.measure import Measured, MeasurementSetup, edges_for, layer_counts, measure
from crossmod.evaluation.organs import organs_of
from crossmod.evaluation.paired import against_truth, truth_of
from crossmod.evaluation.result import data_of, inputs_of, layers_of, model_of, numbers_of, plain_fields
from crossmod.evaluation.warnings import about_segmenter, notes
from crossmod.files import PathName, lock
from crossmod.metrics.axial_layers import LAYERS
from crossmod.metrics.features import FeatureExtractor, detector
from crossmod.metrics.slice_positions import Placed, Sources, place_real, place_synthetic, sources_of
from crossmod.runs import Run, start_run
from crossmod.segmentation.predict import Segmenter, load_segmenter
from crossmod.settings import EvaluationSettings

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
    """Hold synthetic images against real ones; a finished result is left alone.

    Args:
        real: store with real cases of the synthetic's modality, of two patients or more.
        synthetic: stores that `synthesize` made.
        out: the result folder.
        source: stores with the scans that the synthetic cases were made from; `real` is looked into anyway.
        truth: store with real images of the synthetic cases' patients, in the synthetic's modality.
        segmenter: run of a segmenter of that modality, trained on real images, that looks for its organ in the
            synthetic ones; without, the answers of the models' own segmentors are looked at, where they have one.
        settings: all that decides the numbers.

    Raises:
        InputError: nothing to compare, fewer than two real patients, values that are no HU, an unknown detector, or
            `out` is something else, or the segmenter is one of another modality.
    """
    settings = settings or EvaluationSettings()
    out = Path(out)
    began = time.monotonic()
    features = detector(settings.detector)
    question = choose_cases(
        Path(real), [Path(path) for path in synthetic], settings, None if truth is None else Path(truth)
    )
    answers = question.truth
    for line in question.people.lines:
        log.info("%s", line)
    warn_of_bodies(question)
    finder = load_segmenter(Path(segmenter)) if segmenter is not None else None
    sources = sources_of([question.real, *(Store(path) for path in source)])
    inputs = inputs_of(question, sources, answers, finder.weights if finder else None)
    plain_settings = settings.model_dump(mode="json")
    # Also refuses a folder of something else before anything is read.
    if out.exists() and start_run(out, KIND, plain_settings, inputs).finished:
        log.info("%s is finished already.", out)
        return Run(out)
    every = [record for model in question.models for record in model.records]
    known = truth_of(answers, question.modality, question.sequence, every) if answers is not None else {}
    placed = _place(question, sources)
    common = _common_layers(placed)
    measured = _measure(
        question, placed, MeasurementSetup(features, _edges(question, settings), question.scale, settings, common)
    )
    checked = {
        model.name: {
            "organs": _organs(model.store, placed[model.name], finder),
            "truth": _truth(placed[model.name], answers, known, settings),
        }
        for model in question.models
    }
    run = start_run(out, KIND, plain_settings, inputs)
    with lock(run.path / ".lock"):
        scored = _score(run.path, question, measured, settings, features, common)
        save_spectra(run.path, measured, common)
        run.finish(
            {
                "settings": plain_settings,
                "modality": question.modality,
                "sequence": question.sequence,
                "size": question.size,
                "frame": question.scale.kind,
                "pixel_mm": question.scale.pixel_mm,
                "detector": {"name": features.name, "sha256": features.sha256},
                "data": data_of(out, question, placed, measured),
                "layers": layers_of(placed, common),
                **numbers_of(scored.judgement),
                "models": {
                    model.name: {
                        **model_of(scored.judgement, scored.digests.get(model.name), measured, model),
                        **checked[model.name],
                    }
                    for model in question.models
                },
                "shown": shown_slices(question, measured),
                "warnings": notes(question, settings, placed, measured, scored.judgement.images)
                + about_segmenter(question, finder),
                "steps": settings.draws,
                "seconds": round(time.monotonic() - began, 1),
                "device": "cpu",
            }
        )
    return run


def _organs(store: Store, cases: Sequence[Placed], finder: Segmenter | None) -> dict[str, Any]:
    return {organ: plain_fields(one) for organ, one in organs_of(store, cases, finder).items()}


def _truth(
    cases: Sequence[Placed], truth: Store | None, known: Mapping[str, CaseRecord], settings: EvaluationSettings
) -> dict[str, Any] | None:
    found = None if truth is None else against_truth(cases, truth, known, settings)
    return None if found is None else plain_fields(found)


def _edges(question: EvaluationCases, settings: EvaluationSettings) -> np.ndarray | None:
    return edges_for(settings) if question.modality == "ct" else None


def _place(question: EvaluationCases, sources: Sources) -> dict[str, list[Placed]]:
    return {
        "reference": place_real(question.real, question.reference),
        "held": place_real(question.real, question.held),
        **{model.name: place_synthetic(model.store, model.records, sources) for model in question.models},
    }


def _common_layers(placed: Mapping[str, Sequence[Placed]]) -> frozenset[int]:
    """The layers that all sets show.

    Raises:
        InputError: there are none.
    """
    counts = {name: layer_counts(cases) for name, cases in placed.items()}
    common = frozenset(n for n in range(1, LAYERS + 1) if all(count[n - 1] for count in counts.values()))
    if not common:
        shown = "; ".join(f"{name}: {sum(count)} slices in layers" for name, count in counts.items())
        do = "Give labelled cases, or --source with the scans that the synthetic ones were made from."
        raise InputError("axial layers", found=shown, expected="a layer that all sets show", do=do)
    return common


def _measure(
    question: EvaluationCases, placed: Mapping[str, Sequence[Placed]], ruler: MeasurementSetup
) -> dict[str, Measured]:
    reference = measure("reference", placed["reference"], ruler, keep=True)
    others = ("held", *(model.name for model in question.models))
    return {
        "reference": reference,
        **{name: measure(name, placed[name], ruler, reference.stacks) for name in others},
    }


@dataclass(frozen=True, eq=False)
class _Scored:
    judgement: BaselineComparison
    digests: Mapping[str, str]


def _score(
    folder: Path,
    question: EvaluationCases,
    measured: Mapping[str, Measured],
    settings: EvaluationSettings,
    features: FeatureExtractor,
    common: frozenset[int],
) -> _Scored:
    statistics = {model.name: measured[model.name].statistics for model in question.models}
    reference = measured["reference"].statistics
    log.info(
        "Scoring %d set%s and the baseline against %d real slices, with %d draws of patients each.",
        len(statistics), "s" * (len(statistics) != 1), len(reference), settings.draws,
    )  # fmt: skip
    judgement = judge(reference, measured["held"].statistics, statistics, seed=settings.seed, draws=settings.draws)
    # Draws of one patient are all alike: they tell no difference.
    several = {name: one for name, one in statistics.items() if len(set(one.patients)) > 1}
    if settings.draws == 0 or len(set(reference.patients)) < 2:
        several = {}
    names = [model.name for model in question.models]
    save_draws(folder, model_draws(reference, several, settings.seed, settings.draws), names)
    about = {
        "settings": settings.model_dump(mode="json", include={"window", "percentiles", "seed", "draws", "inside"}),
        "detector": features.sha256,
        "size": question.size,
        # Results of before there were millimetres can be paired as they were.
        **({"frame": question.scale.kind, "pixel_mm": question.scale.pixel_mm} if question.scale.pixel_mm else {}),
        "common": sorted(common),
        "real": [case.sha256 for case in question.reference],
    }
    return _Scored(
        judgement,
        {
            model.name: digest(measured["reference"], measured[model.name], _origins(model), about)
            for model in question.models
            if model.name in several
        },
    )


def _origins(model: SyntheticModel) -> dict[str, str]:
    """By case, the checksum of what it was made from; of the case itself where that is unknown."""
    return {r.id: r.synthetic.source_sha256 if r.synthetic else r.sha256 for r in model.records}
