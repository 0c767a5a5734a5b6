"""The five losses of EssNet (Rafiq et al. 2025, Eqs. 1-6); the first four are CycleGAN's.

Notable:
- Discriminators give logits D; the paper's D(y) in Eqs. 1-2 is sigmoid(D).
- The generator minimises -log D(G(x)) in place of log(1 - D(G(x))): the same fixed point, and a gradient where the
  discriminator is sure (Goodfellow et al. 2014, section 3). The public code does the same.
- Eqs. 3 and 4 are printed as |G2(G1(x) - x)|; read as |G2(G1(x)) - x|, and averaged over pixels, not summed.
- Eq. 5 is printed without its minus and as a sum; computed is cross-entropy, averaged over pixels.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from jaxtyping import Float, Int
from torch import Tensor

Adversarial = Literal["least_squares", "cross_entropy"]
Logits = Float[Tensor, "batch judged patch_rows patch_columns"]
Images = Float[Tensor, "batch images rows columns"]
Scalar = Float[Tensor, ""]

# How far logits are from "all real" (1) or "all synthetic" (0).
# Least squares: Mao et al. 2017, what the public EssNet code trains with. Cross-entropy: Eqs. 1-2, see above.
_DISTANCE: Mapping[Adversarial, Callable[[Tensor, Tensor], Tensor]] = {
    "least_squares": F.mse_loss,
    "cross_entropy": F.binary_cross_entropy_with_logits,
}


def generator_adversarial(kind: Adversarial, fake: Logits) -> Scalar:
    """What G wants of L_GAN (Eq. 1 for G1 and D1, Eq. 2 for G2 and D2): that its images be taken for real ones."""
    return _DISTANCE[kind](fake, fake.new_ones(()).expand_as(fake))


def discriminator_adversarial(kind: Adversarial, real: Logits, fake: Logits) -> Scalar:
    """What D wants of L_GAN (Eqs. 1-2): to tell real from synthetic.

    Halved as in the public code, so that D learns at half the speed of G (Zhu et al. 2017, section 7.1).
    """
    for_real = _DISTANCE[kind](real, real.new_ones(()).expand_as(real))
    for_fake = _DISTANCE[kind](fake, fake.new_zeros(()).expand_as(fake))
    return (for_real + for_fake) / 2


def cycle(reconstructed: Images, original: Images) -> Scalar:
    """L_cycle (Eqs. 3-4): mean |G2(G1(x)) - x|, and the same the other way round."""
    return F.l1_loss(reconstructed, original)


def segmentation(
    logits: Float[Tensor, "batch classes rows columns"], mask: Int[Tensor, "batch rows columns"], *, bounded: bool
) -> Scalar:
    """L_seg (Eq. 5): cross-entropy between S(G1(x)) and the mask of x, averaged over pixels.

    Args:
        logits: what S says.
        mask: class of each pixel.
        bounded: squeeze logits through tanh as the public code does; the loss of two classes then cannot fall
            under log(1 + exp(-2)) = 0.127.
    """
    return F.cross_entropy(logits.tanh() if bounded else logits, mask)
