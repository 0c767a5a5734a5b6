"""One field of view in millimetres for all runs of an experiment, so that arms and folds see the same pixels."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from crossmod.config import Modality
from crossmod.data.pixel_size import Extent, check_sides, extents, needed_mm, settle, warn_of_sizes
from crossmod.data.store import CaseRecord, Store
from crossmod.settings import FrameKind, ImageSettings, SegmentSettings, TranslateSettings
from crossmod.synthesis.training_data import side_groups

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scaled:
    """The settings of a design with their millimetres, by their names in it."""

    translators: dict[str, TranslateSettings]
    segmenters: dict[str, SegmentSettings]


def scaled(
    translators: Mapping[str, TranslateSettings],
    segmenters: Mapping[str, SegmentSettings],
    stores: Mapping[Modality, Store],
    target: Modality,
) -> Scaled:
    """Settle the millimetres of all settings that leave them open, by all patients of both sides.

    Translators are compared over folds, and segmenters read what translators made: a value of each fold's own would be
    a difference between arms that nobody asked for. Networks of other sizes get the same field of view.

    Raises:
        InputError: bodies whose sizes in millimetres cannot both be right.
    """
    cases = _cases(translators, segmenters, stores, target)
    kinds: set[FrameKind] = {one.frame for one in (*translators.values(), *segmenters.values()) if _is_open(one)}
    sides: dict[FrameKind, dict[str, list[Extent]]] = {
        kind: {side.upper(): extents(stores[side], cases[side], kind) for side in cases} for kind in kinds
    }
    field_mm = max((needed_mm(one) for one in sides.values()), default=0.0)
    made = Scaled(
        {name: settle(one, field_mm) for name, one in translators.items()},
        {name: settle(one, field_mm) for name, one in segmenters.items()},
    )
    measured: Mapping[str, list[Extent]] = {}
    for name, one in made.translators.items():
        log.info("Translator %s:", name)
        stated = not _is_open(translators[name])
        measured = sides.get(one.frame) or {
            side.upper(): extents(stores[side], cases[side], one.frame) for side in cases
        }
        check_sides(measured, one, stated=stated)
    for side, bodies in measured.items():
        warn_of_sizes(side, bodies)
    return made


def _is_open(settings: ImageSettings) -> bool:
    return settings.frame != "stretch" and not settings.pixel_mm


def _cases(
    translators: Mapping[str, TranslateSettings],
    segmenters: Mapping[str, SegmentSettings],
    stores: Mapping[Modality, Store],
    target: Modality,
) -> dict[Modality, list[CaseRecord]]:
    """Every case that has an influence, each once."""
    found: dict[Modality, dict[str, CaseRecord]] = {"ct": {}, "mr": {}}
    for one in translators.values():
        for side in found:
            found[side] |= {group.first.id: group.first for group in side_groups(stores[side], side, one, organ=None)}
    for one in segmenters.values():
        sequence = one.sequence if target == "mr" else None
        found[target] |= {case.id: case for case in stores[target].select(target, sequence=sequence)}
    return {side: list(cases.values()) for side, cases in found.items()}
