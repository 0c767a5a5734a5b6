"""What Rafiq et al. 2025 print, as data: Tables 1 to 5 (Cross Modality Medical Image Synthesis for Improving Liver
Segmentation, arXiv 2503.00945).

Notable:
- Their Dice and IoU are of one run a row, over 58 slices of patients whose other slices were trained on.
- They are pooled over pixels: each row satisfies IoU = Dice / (2 - Dice) to the last digit printed. Of the counts of
  all pixels together that is always so. Means over slices are larger in IoU, by about 1.7 times the variance of the
  slices' Dice near 0.95: they could agree only if that Dice had an SD below 0.01.
"""

from dataclasses import dataclass

SOURCE = "Rafiq et al. 2025"

# Table 1: slices that EssNet is trained on, and those that it is given afterwards.
TRAINED_MR, TRAINED_CT, TESTED_CT, GENERATED = 350, 350, 2050, 2050
# Table 2.
TESTED_MR = 58


@dataclass(frozen=True)
class Row:
    """A row of Tables 2, 3 and 4.

    Args:
        real: training slices.
        synthetic: beside them.
        dice: over all pixels of the tested slices.
        iou: over the same pixels.
    """

    real: int
    synthetic: int
    dice: float
    iou: float


# Tables 2 and 3, EssNet.
ESSNET = (
    Row(350, 0, 0.9459, 0.8974),
    Row(350, 354, 0.9467, 0.8989),
    Row(350, 714, 0.9524, 0.9091),
    Row(350, 1034, 0.9485, 0.9020),
    Row(350, 1487, 0.9475, 0.9002),
    Row(350, 2050, 0.9505, 0.9058),
)
# Table 4: CycleGAN, which is EssNet without its segmentor.
CYCLEGAN = (Row(350, 0, 0.9459, 0.8974), Row(350, 714, 0.9460, 0.8976))


@dataclass(frozen=True)
class Cost:
    """A row of Table 5, on an NVIDIA GeForce RTX 2060 with 6 GB.

    Args:
        parameters: of EssNet those of two generators and two discriminators; S is left out of the paper's count.
        seconds: per epoch; of U-Net with 1064 slices.
        speed: slices per second.
    """

    parameters: int
    seconds: float
    speed: float


# By family of translators, or network.
COSTS = {"essnet": Cost(28_256_644, 230.0, 2.02), "unet": Cost(31_031_685, 80.0, 21.0)}
