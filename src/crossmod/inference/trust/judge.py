"""How far a translation can be trusted: every check, each exceeded limit as a sentence, and what is not known.

Notable:
- No check knows the truth. A translation within all limits may still be wrong: see `docs/concepts/trust.md`.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

from crossmod.inference.contract import Translation
from crossmod.inference.trust.checks import Shift, body_share, jump_of, organs_of, slices_of, uncertainty_of
from crossmod.inference.trust.fingerprint import Fingerprint
from crossmod.inference.trust.found import Check
from crossmod.inference.trust.found import Limits as Limits
from crossmod.inference.trust.found import Trust as Trust
from crossmod.inference.trust.images import Output, input_likenesses, output_of
from crossmod.inference.trust.unknown import unknown_of
from crossmod.inference.trust.words import Warned, warnings_of


def judge_trust(translation: Translation, reference: Fingerprint | None = None, limits: Limits | None = None) -> Trust:
    """Check a translation against its source and its model's training.

    Args:
        translation: what was made; with variants or several networks, else its uncertainty is not known.
        reference: of the model's training, from `fingerprint_of`; None of models that do not tell.
        limits: beyond which there is a warning.
    """
    limits = limits or Limits()
    output = output_of(translation, reference)
    found = Trust(
        uncertainty=uncertainty_of(translation, limits.uncertain),
        organs=organs_of(translation),
        jump=jump_of(translation),
        shift=_shift(output),
        clipped=translation.clipped,
        likenesses=() if reference is None else input_likenesses(translation, reference),
        warnings=(),
        unknown=(),
        limits=limits,
        output=output,
        slices=slices_of(translation) if translation.body.any() else None,
        body_share=body_share(translation),
    )
    warned = list(warnings_of(found, translation))
    return replace(
        found,
        warnings=tuple(one.sentence for one in warned),
        unknown=tuple(unknown_of(found, translation, reference)),
        checks=tuple(_checks(found, warned, translation)),
    )


def _shift(output: Output) -> Shift | None:
    kept = output.kept
    if kept is None or not kept.placed:
        return None
    return Shift(kept.rows, kept.columns, output.pixel_mm, kept.agreement, kept.scale)


def _checks(found: Trust, warned: list[Warned], translation: Translation) -> Iterator[Check]:
    output, body = found.output, bool(translation.body.any())
    inputs = len(translation.sources)
    assessed = {
        "input against training": len(found.likenesses) == inputs,
        "order of slices": body and len(translation.body) >= 3,
        "body": body,
        "output against real images": output is not None and output.real is not None,
        "output against usual output": output is not None and output.own is not None,
        "structure": output is not None and output.kept is not None,
        "place": found.shift is not None,
        "organs": any(organ.change is not None for organ in found.organs),
        "steps from slice to slice": not math.isnan(found.jump),
        "CT window": "ct" in (translation.about.source, translation.about.target) and body,
        "uncertainty": found.uncertainty is not None,
    }
    exceeded = {one.check for one in warned}
    for name, could in assessed.items():
        yield Check(name, "warning" if name in exceeded else "within limits" if could else "not assessed")
