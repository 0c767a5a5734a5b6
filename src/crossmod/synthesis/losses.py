"""The five losses of EssNet (Rafiq et al. 2025, Eqs. 1-6); the first four are CycleGAN's.

Notable:
- Discriminators give logits D; the paper's D(y) in Eqs. 1-2 is sigmoid(D).
- The generator minimises -log D(G(x)) instead of log(1 - D(G(x))): the same fixed point, and a gradient also where the
  discriminator is sure (Goodfellow et al. 2014, section 3). The public code does the same.
- Eqs. 3 and 4 are printed as |G2(G1(x) - x)|; read as |G2(G1(x)) - x|, and averaged over pixels, not summed.
- Eq. 5 is printed without its minus and as a sum; here it is cross-entropy, averaged over pixels.
"""

import torch.nn.functional as F  # noqa: N812 - the usual name
from jaxtyping import Float, Int
from torch import Tensor

from crossmod import registry

Logits = Float[Tensor, "batch judged patch_rows patch_columns"]
Images = Float[Tensor, "batch images rows columns"]
Scalar = Float[Tensor, ""]


def least_squares(logits: Tensor, target: Tensor) -> Scalar:
    """Mean squared distance from "all real" (1) or "all synthetic" (0): Mao et al. 2017, as in the public code."""
    return F.mse_loss(logits, target)


def cross_entropy(logits: Tensor, target: Tensor) -> Scalar:
    """Binary cross-entropy of logits with "all real" (1) or "all synthetic" (0): Eqs. 1-2, see above."""
    return F.binary_cross_entropy_with_logits(logits, target)


def generator_adversarial(kind: str, fake: Logits) -> Scalar:
    """L_GAN of G (Eq. 1 for G1 and D1, Eq. 2 for G2 and D2): its images should be taken for real ones."""
    return registry.member("adversarial_loss", kind)(fake, fake.new_ones(()).expand_as(fake))


def discriminator_adversarial(kind: str, real: Logits, fake: Logits) -> Scalar:
    """L_GAN of D (Eqs. 1-2): to separate real from synthetic images; halved as in the public code, so that D learns at
    half the speed of G (Zhu et al. 2017, section 7.1)."""
    distance = registry.member("adversarial_loss", kind)
    for_real = distance(real, real.new_ones(()).expand_as(real))
    for_fake = distance(fake, fake.new_zeros(()).expand_as(fake))
    return (for_real + for_fake) / 2


def cycle(reconstructed: Images, original: Images) -> Scalar:
    """L_cycle (Eqs. 3-4): mean |G2(G1(x)) - x|, or |G1(G2(y)) - y|."""
    return F.l1_loss(reconstructed, original)


def segmentation(
    logits: Float[Tensor, "batch classes rows columns"], mask: Int[Tensor, "batch rows columns"], *, bounded: bool
) -> Scalar:
    """L_seg (Eq. 5): cross-entropy between S(G1(x)) and the mask of x, averaged over pixels. `bounded`: through tanh as
    in the public code; the loss of two classes then cannot fall under log(1 + exp(-2)) = 0.127."""
    return F.cross_entropy(logits.tanh() if bounded else logits, mask)
