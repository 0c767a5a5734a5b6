"""How far a translation can be trusted: what was checked, each exceeded limit as a sentence, and what is not known.

Notable:
- No check knows the truth. All being well does not mean that the image is right: see `docs/concepts/trust.md`.
"""

from dataclasses import replace

from crossmod.inference.contract import Translation
from crossmod.inference.trust.checks import jump_of, organs_of, shift_of, uncertainty_of
from crossmod.inference.trust.fingerprint import Fingerprint, likenesses
from crossmod.inference.trust.found import Limits as Limits
from crossmod.inference.trust.found import Trust as Trust
from crossmod.inference.trust.words import unknown_of, warnings_of


def judge_trust(translation: Translation, reference: Fingerprint | None = None, limits: Limits | None = None) -> Trust:
    """Check a translation against its source and its model's training.

    Args:
        translation: what was made; with variants or several networks, else its uncertainty is not known.
        reference: of the model's training, from `fingerprint_of`; None of models that do not tell.
        limits: beyond which is warned.
    """
    limits = limits or Limits()
    found = Trust(
        uncertainty=uncertainty_of(translation, limits.uncertain),
        organs=organs_of(translation),
        jump=jump_of(translation),
        shift=shift_of(translation),
        clipped=translation.clipped,
        likenesses=() if reference is None else likenesses(translation, reference),
        warnings=(),
        unknown=(),
        limits=limits,
    )
    return replace(
        found,
        warnings=tuple(warnings_of(found, translation)),
        unknown=tuple(unknown_of(found, translation, reference)),
    )
