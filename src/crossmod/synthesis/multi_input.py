"""CycleGAN with several registered MR inputs and one CT output (Crespi et al., "Methodology", Fig. 2c).

Notable:
- MR to CT: one branch per input (encoder, four residual blocks), merged in the latent space, then decoded. The paper
  does not say how branches are merged; here they are concatenated, and a 1 x 1 convolution reduces them to the width of
  one. The remaining residual blocks of the single-input network follow the merge.
- CT to MR: one encoder and one latent space, one decoder per input, so that the cycle closes over all inputs.
- One discriminator for CT and one for each input. Adversarial and cycle terms are means over the inputs, so that the
  weights of the losses mean the same for any number of inputs.
- With one input it is exactly CycleGAN.
"""

import torch
from torch import nn

from crossmod.engine.state import TrainingTask
from crossmod.networks.blocks import MultiDiscriminator, MultiInputGenerator, MultiOutputGenerator, PatchGAN
from crossmod.settings import TranslateSettings
from crossmod.synthesis import cyclegan
from crossmod.synthesis.families import Family


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
        "D1": MultiDiscriminator(inputs, s.discriminator_filters, s.discriminator_layers, s.stack),
        "D2": PatchGAN(s.discriminator_filters, s.discriminator_layers, inputs=s.stack),
    }
    return cyclegan.build(s, device, networks=networks)


FAMILY = Family(
    title="Multi-input CycleGAN",
    build=build,
    generators=generators,
    reference="Crespi et al., multi-input synthesis of CT from MR, whose network this is; Zhu et al., CycleGAN, "
    "ICCV 2017",
    several_inputs=True,
)
