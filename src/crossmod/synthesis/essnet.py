"""EssNet: CycleGAN with one more term (Huo et al. 2018; Rafiq et al. 2025, part 2 of Fig. 2).

The segmentor S segments the synthetic image, with the source's labels as truth, and its gradient reaches the generator:
organs must stay where the labels are. Either modality may be labelled: CT, S(G1(x)), or MR, S(G2(y)). Of a stack S sees
only the slice itself, which the labels belong to.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from crossmod.engine.state import Batch, TrainingTask
from crossmod.networks.blocks import ResNet
from crossmod.settings import TranslateSettings
from crossmod.synthesis import cyclegan
from crossmod.synthesis.families import Family
from crossmod.synthesis.losses import segmentation


def segmentor(settings: TranslateSettings) -> ResNet:
    """S: logits of background and of each organ."""
    classes = 1 + len(settings.organs)
    return ResNet(classes, settings.generator_filters, settings.generator_blocks, head="linear")


def build(settings: TranslateSettings, device: torch.device) -> TrainingTask:
    """CycleGAN's networks and the segmentor S, which is trained together with the generators."""
    S, target = segmentor(settings), settings.target

    def on_labels(batch: Batch, fakes: Mapping[str, Tensor]) -> cyclegan.Terms:
        if target not in fakes:
            return {}
        loss = segmentation(S(fakes[target][:, :1]), batch["mask"], bounded=settings.bounded_logits)  # Eq. 5
        return {"segmentation": (settings.lambda_5, loss)}

    return cyclegan.build(settings, device, more={"S": S}, term=on_labels)


FAMILY = Family(
    title="EssNet",
    build=build,
    generators=cyclegan.generators,
    segmentor=segmentor,
    reference="Rafiq et al., Cross Modality Medical Image Synthesis for Improving Liver Segmentation, "
    "arXiv 2503.00945, 2025; Huo et al., EssNet, ISBI 2018",
)
