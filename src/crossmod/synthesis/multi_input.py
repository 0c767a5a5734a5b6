"""CycleGAN with several registered MR inputs and one CT output (Crespi et al., "Methodology", Fig. 2c).

Notable:
- MR to CT: one branch an input (encoder, four residual blocks), merged in the latent space, then decoded. The paper
  does not say how the branches are merged; here they are put side by side and a 1 x 1 convolution brings them back to
  the width of one. The residual blocks that the single-input network has beyond those of a branch follow the merge.
- CT to MR: one encoder and one latent space, one decoder an input, so that the cycle closes over all of them.
- One discriminator for CT and one for each input. Adversarial and cycle terms are means over the inputs, so that the
  weights of the losses mean the same however many there are.
- With one input it is CycleGAN, to the last weight.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossmod.engine.state import TrainingTask
from crossmod.networks.blocks import PatchGAN
from crossmod.networks.multi_input import MultiInputGenerator, MultiOutputGenerator
from crossmod.settings import TranslateSettings
from crossmod.synthesis import cyclegan


class Panel(nn.Module):
    """One discriminator for each of several images, or of several stacks of them."""

    def __init__(self, inputs: int, filters: int, layers: int, stack: int = 1):
        super().__init__()
        self.stack = stack
        self.judges = nn.ModuleList(PatchGAN(filters, layers, inputs=stack) for _ in range(inputs))

    def forward(
        self, x: Float[Tensor, "batch images rows columns"]
    ) -> Float[Tensor, "batch inputs patch_rows patch_columns"]:
        """One logit a patch of each image."""
        parts = zip(self.judges, x.split(self.stack, dim=1), strict=True)
        return torch.cat([judge(image) for judge, image in parts], dim=1)


def generators(settings: TranslateSettings) -> dict[str, nn.Module]:
    """G1 (CT to the inputs) and G2 (the inputs to CT)."""
    s, inputs = settings, len(settings.mr_inputs)
    return {
        "G1": MultiOutputGenerator(inputs, s.generator_filters, s.generator_blocks, s.stack),
        "G2": MultiInputGenerator(inputs, s.generator_filters, s.generator_blocks, s.branch_blocks, s.stack),
    }


def build(settings: TranslateSettings, device: torch.device) -> TrainingTask:
    """CycleGAN's training of these networks."""
    s, inputs = settings, len(settings.mr_inputs)
    networks = {
        **generators(s),
        "D1": Panel(inputs, s.discriminator_filters, s.discriminator_layers, s.stack),
        "D2": PatchGAN(s.discriminator_filters, s.discriminator_layers, inputs=s.stack),
    }
    return cyclegan.build(s, device, networks=networks)
