"""The settings of training translators and segmenters and of evaluations: each is documented here, and only here."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from crossmod import registry
from crossmod.config import Modality, Settings

Slices = Literal["organ", "all"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]
Compile = Literal["auto", "on", "off"]
FrameKind = Literal["body", "field", "stretch"]
JudgedOn = Literal["random_contrast", "target_labels"]

# Values of these settings in runs of versions that did not have them: the whole field of view was stretched.
BEFORE_FRAMES: Mapping[str, Any] = {"frame": "stretch", "pixel_mm": 0.0}
# Of the built-in families.
ONE_INPUT = ("cyclegan", "essnet", "guided")
WITHOUT_SEGMENTOR = ("cyclegan", "multi_input")
# Families without networks, which change the intensities of source slices.
CONTROLS = ("source", "histogram", "fda", "random_contrast", "class_contrast", "painted")


def member_of(kind: registry.Kind) -> AfterValidator:
    """The check of a setting that names a member of a registry."""
    return AfterValidator(lambda name: name if name is None else registry.known(kind, name))


def _is_zero(value: object) -> bool:
    return value == 0


def _is_one(value: object) -> bool:
    return value == 1


def _is_none(value: object) -> bool:
    """For settings that are recorded only if they are used, so that records without them stay the same."""
    return value is None


def _is_off(value: object) -> bool:
    """The same for those that are on or off."""
    return value is False


# Heading of each setting in the help of `train` and `segment`; all others are "Data".
_PANELS = {
    "Networks": "family network generator_filters generator_blocks branch_blocks discriminator_filters "
    "discriminator_layers adapt_batch_norm stack stack_mm ema bounded_logits",
    "Losses": "adversarial loss lambda_1 lambda_2 lambda_3 lambda_4 lambda_5 pool_size",
    "Schedule": "learning_rate discriminator_learning_rate beta_1 weight_decay schedule batch_size epochs steps decay "
    "sample_every segmentor_steps judge select_every select_patients patience seed",
    "Hardware": "device threads devices nodes checkpoint_minutes keep precision compile",
}
PANELS = {name: panel for panel, names in _PANELS.items() for name in names.split()}

# Without a load size: share of the frame by which it is shifted at random, in each direction.
TRANSLATION = 0.05


class Machine(Settings):
    """Where and how a command computes; these settings may change when a command is rerun."""

    device: Device = "auto"
    """Where to compute."""
    threads: int = Field(default=0, ge=0)
    """CPU threads; 0: one for small networks, otherwise all cores, and fewer if other programs use them too."""
    devices: int = Field(default=1, ge=1)
    """Processes that train together on each machine, one per GPU; --batch-size and image pools are per process."""
    nodes: int = Field(default=1, ge=1)
    """Machines that train together; start the command on each, with torchrun or SLURM."""
    checkpoint_minutes: float = Field(default=5.0, ge=0)
    """Minutes between checkpoints: the most work lost if the process is killed."""
    keep: int = Field(default=2, ge=1)
    """Number of latest checkpoints to keep, in addition to the best."""


class SplitSettings(Settings):
    """What is held out for testing; identical settings give the identical split in every command."""

    split: Literal["patient", "slice", "none"] = "patient"
    """Hold out patients; or slices, as in the paper: neighbours of a test slice are then trained on (leaking); or
    no one (`train` only): synthetic images can then be tested only on other people."""
    test_slices: int = Field(default=58, ge=1)
    """Slices to hold out with `--split slice`."""
    folds: int = Field(default=5, ge=2)
    """Number of parts that the patients are divided into; one of them is held out."""
    fold: int = Field(default=0, ge=0)
    """The part that is held out, counted from 0."""
    split_seed: int = 0
    """Seed of the split."""
    test_patients: tuple[str, ...] = ()
    """Names of patients to hold out, instead of a fold."""
    train_patients: tuple[str, ...] = ()
    """Names of patients to train on; default: all that are not held out."""
    same_people: Literal["yes", "no"] | None = None
    """Whether equal case names in two stores are one person, if there are no patient ids; default: ask if needed."""

    @model_validator(mode="after")
    def _check_fold(self) -> "SplitSettings":
        if self.fold >= self.folds:
            raise ValueError(f"fold below folds ({self.folds}), got --fold {self.fold}")
        if self.split == "none" and (self.test_patients or self.train_patients):
            raise ValueError("--split patient, to choose who is held out, got --split none, which holds out no one")
        return self


class ImageSettings(SplitSettings):
    """How a stored volume is converted to the input of a network."""

    organs: tuple[str, ...] = Field(default=("liver",), min_length=1)
    """Organs to learn, as the stores name them; a segmenter of several is scored by organ and by their mean."""
    sequence: str | None = None
    """MR sequence to use, if a store contains several."""
    window: tuple[float, float] = (-160.0, 240.0)
    """CT: the HU that map to -1 and 1; values outside are clipped."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    """MR: the percentiles of a volume that map to -1 and 1."""
    size: int = Field(default=256, ge=16, multiple_of=4)
    """Side length of the network's input in pixels."""
    frame: FrameKind = "body"
    """Part of a slice that the network sees: a square around the body, or around the centre of the field of view; or
    `stretch`: the whole field, stretched to the size, whatever its size in millimetres."""
    pixel_mm: float = Field(default=0.0, ge=0, le=100)
    """Pixel size of the network in millimetres, the same for all scans; 0: the smallest one with which the bodies of
    nearly all patients in the stores fit."""
    seed: int = 0
    """Seed of weights, order and augmentation."""

    @model_validator(mode="after")
    def _check_image(self) -> "ImageSettings":
        if self.frame == "stretch" and self.pixel_mm:
            raise ValueError(f"--frame body or field with it, got --pixel-mm {self.pixel_mm:g} and --frame stretch")
        if len(set(self.organs)) < len(self.organs):
            raise ValueError(f"each organ once, got {', '.join(self.organs)}")
        if self.window[0] >= self.window[1]:
            raise ValueError(f"a window from low to high HU, got {self.window}")
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError(f"two rising percentiles between 0 and 100, got {self.percentiles}")
        return self


class TrainSettings(ImageSettings):
    """Settings common to all training."""

    precision: Precision = "auto"
    """`fp32`; `bf16`, with weights and losses in fp32; `auto`: bf16 if the hardware has instructions for it."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the exponential moving average of the weights (such as 0.999); 0: no averaging."""


class TranslateSettings(TrainSettings):
    """Training a translator; the defaults are those of Rafiq et al. 2025."""

    family: Annotated[str, member_of("family")] = "essnet"
    """`cyclegan`; `essnet`: CycleGAN with a segmentor; `guided`: keeps structures in place, with a segmentor that is
    trained before; `multi_input`: CycleGAN with several MR inputs; or a control without networks: source, histogram,
    fda, random_contrast, class_contrast, painted."""
    inputs: tuple[str, ...] = ()
    """MR sequences, one input each, registered by patient; `t1_in+t1_out` is one input that may be either."""
    contrast: Literal["any", "yes", "no"] = "any"
    """CT with contrast agent, or without; the two are never mixed."""
    source: Modality = "ct"
    """The labelled side, whose labelled slices are translated to the other modality."""
    source_patients: tuple[str, ...] = ()
    """Names of the source patients to train on and to synthesize from; default: all that are not held out."""
    load_size: int | None = None
    """Resize slices to this side length in pixels and crop a random part of `size` (magnifies; public code: 286 for
    256); default: shift the frame at random by up to 5 %, at the same pixel size; with --frame stretch: 286 for 256."""
    flip: bool = False
    """Mirror slices left to right at random; the liver can then be on either side."""
    stack: int = Field(default=1, ge=1, le=7)
    """Number of slices that the networks see together: 1, 3, 5 or 7; 3: a slice and its two neighbours (2.5D)."""
    stack_mm: float = Field(default=0.0, ge=0, le=1000)
    """Distance between the slices of a stack in millimetres; 0: the larger slice distance of the two sides."""
    slices: Literal["organ", "source", "all"] = "organ"
    """Train on slices that show the organ; `source`: chosen so on the source alone, as if the target had no labels; or
    on all. Of unlabelled slices all are used, by family guided those in which its segmentor finds the organ."""
    ct_slices: int = Field(default=350, ge=0)
    """Maximum number of CT slices to train on, drawn evenly from the patients; 0: all."""
    mr_slices: int = Field(default=350, ge=0)
    """Maximum number of MR slices to train on, drawn evenly from the patients; 0: all."""
    generator_filters: int = Field(default=64, ge=1)
    """Filters in the first layer of G1, G2 and S."""
    generator_blocks: int = Field(default=9, ge=0)
    """Number of residual blocks of G1, G2 and S."""
    branch_blocks: int = Field(default=4, ge=0)
    """With several inputs: number of residual blocks in the branch of each input, before the branches are merged."""
    discriminator_filters: int = Field(default=64, ge=1)
    """Filters in the first layer of D1 and D2."""
    discriminator_layers: int = Field(default=3, ge=1, le=5)
    """Layers of stride 2 in D1 and D2: with 3, patches are 70 x 70 pixels."""
    adversarial: Annotated[str, member_of("adversarial_loss")] = "least_squares"
    """Adversarial loss: `least_squares`, as in the public code, or `cross_entropy`, that of Eqs. 1-2."""
    bounded_logits: bool = False
    """Apply tanh to the segmentor's logits, as in the public code."""
    # Recorded only if it is not the default, so that records of other families stay as they were: never change it.
    segmentor_steps: int = Field(default=1500, ge=1, exclude_if=lambda steps: steps == 1500)
    """Family guided, and --judge: steps in which such a segmenter is trained before, on six slices each."""
    judge: JudgedOn | None = Field(default=None, exclude_if=_is_none)
    """Train a segmenter that judges synthetic slices and sees none in training: on source slices with random contrast,
    or on labelled target slices of the training side; default: none."""
    lambda_1: float = Field(default=1.0, ge=0)
    """Weight of L_GAN(G1, D1), the adversarial loss of synthetic MR (Eq. 1)."""
    lambda_2: float = Field(default=1.0, ge=0)
    """Weight of L_GAN(G2, D2), the adversarial loss of synthetic CT (Eq. 2)."""
    lambda_3: float = Field(default=10.0, ge=0)
    """Weight of the cycle CT, MR, CT (Eq. 3)."""
    lambda_4: float = Field(default=10.0, ge=0)
    """Weight of the cycle MR, CT, MR (Eq. 4)."""
    lambda_5: float = Field(default=1.0, ge=0)
    """Weight of the segmentation loss (Eq. 5)."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Adam's learning rate for G1, G2 and S."""
    discriminator_learning_rate: float = Field(default=2e-4, gt=0)
    """Adam's learning rate for D1 and D2."""
    beta_1: float = Field(default=0.5, ge=0, lt=1)
    """Adam's first decay rate; the second is 0.999."""
    batch_size: int = Field(default=1, ge=1)
    """Slices of each modality per step."""
    epochs: int = Field(default=100, ge=1)
    """Passes over the larger of the two training sets."""
    decay: float = Field(default=0.0, ge=0, le=1)
    """Final share of the epochs, over which the learning rates fall linearly to 0."""
    pool_size: int = Field(default=50, ge=0)
    """Number of earlier synthetic images in the pool of each discriminator."""
    compile: Compile = "auto"
    """Compile the networks' blocks; `auto`: on a GPU, and on a CPU from 128 pixels per side."""
    sample_every: int = Field(default=5, ge=1)
    """Epochs between images in the run's samples folder."""
    select_every: int = Field(default=0, ge=0)
    """Epochs between scores on held-out patients; the epoch with the best score is used; 0: no scores, the last one."""
    select_patients: int = Field(default=1, ge=1)
    """Patients of each side that are excluded from training for these scores."""
    patience: int = Field(default=0, ge=0)
    """Stop early after this many scores without improvement; 0: never."""

    @model_validator(mode="after")
    def _check_sizes(self) -> "TranslateSettings":
        if self.size // 2**self.discriminator_layers < 3:
            least = 3 * 2**self.discriminator_layers
            raise ValueError(
                f"size of at least {least} for {self.discriminator_layers} discriminator layers, got --size {self.size}"
            )
        if self.loaded < self.size:
            raise ValueError(f"load_size of at least size ({self.size}), got --load-size {self.load_size}")
        self._check_inputs()
        if self.stack % 2 == 0:
            raise ValueError(f"1, 3, 5 or 7 slices, got --stack {self.stack}")
        if self.stack_mm and self.stack == 1:
            raise ValueError(f"--stack 3 or more with it, got --stack-mm {self.stack_mm:g} alone")
        if self.patience and not self.select_every:
            raise ValueError(f"--select-every with it, got --patience {self.patience} alone")
        if self.select_every and self.split == "slice":
            raise ValueError("--split patient, got --select-every with --split slice, which has no held-out patients")
        return self

    def _check_inputs(self) -> None:
        several = len(self.inputs) > 1
        if self.inputs and self.sequence:
            raise ValueError(f"--sequence or --inputs, got both ({self.sequence} and {', '.join(self.inputs)})")
        if several and self.family in (*ONE_INPUT, *CONTROLS):
            raise ValueError(f"--family multi_input for several inputs, got --family {self.family}")
        if several and any("+" in one for one in self.inputs):
            raise ValueError(f"`+` with a single input only, got {', '.join(self.inputs)}")
        if several and self.source == "ct":
            raise ValueError("--source mr for several inputs, got --source ct")

    @property
    def target(self) -> Modality:
        """The modality that is synthesized."""
        return "mr" if self.source == "ct" else "ct"

    @property
    def generators(self) -> tuple[str, str]:
        """The networks from source to target, and back."""
        return ("G1", "G2") if self.source == "ct" else ("G2", "G1")

    @property
    def mr_inputs(self) -> tuple[tuple[str | None, ...], ...]:
        """The MR inputs, each as its possible sequences; None: the only existing one."""
        if not self.inputs:
            return ((self.sequence,),)
        return tuple(tuple(one.split("+")) for one in self.inputs)

    @property
    def loaded(self) -> int:
        """Pixels per side before the random part is cropped."""
        if self.load_size is not None:
            return self.load_size
        if self.frame == "stretch":
            return round(self.size * 286 / 256)
        return self.size + 2 * max(round(self.size * TRANSLATION), 1)

    @property
    def loaded_mm(self) -> float:
        """Size of these pixels in millimetres: that of the network, or less if slices are scaled to a load size."""
        return self.pixel_mm if self.load_size is None else self.pixel_mm * self.size / self.load_size


class SegmentSettings(TrainSettings):
    """Training a segmenter on real slices, with or without synthetic ones, and testing it on real slices."""

    modality: Modality = "mr"
    """Modality to segment."""
    network: Annotated[str, member_of("segmenter")] = "unet"
    """`unet`: the paper's, 31,031,685 parameters; `tiny`: a small one for a CPU; `tiny_instance`: the same with
    instance norm, for images of another contrast than those trained on; the others need the extra monai."""
    train_on: Slices = "all"
    """Train on slices that show the organ (one of several), or on all."""
    test_on: Slices = "all"
    """Test on slices that show the organ (one of several), or on all; scores per slice are of those that show it."""
    real_slices: int = Field(default=0, ge=0)
    """Real slices to train on, drawn evenly from the patients; 0: all."""
    count: int = Field(default=0, ge=0)
    """Synthetic slices to add to the real ones."""
    without_real: bool = False
    """Train only on the synthetic slices; testing is always on real slices."""
    min_consistency: float = Field(default=0.0, ge=0, le=1)
    """Use only synthetic slices whose label consistency is at least this."""
    real_share: float = Field(default=0.0, ge=0, lt=1, exclude_if=_is_zero)
    """At least this share of every batch is real slices (rounded up), the rest is drawn from all; 0: all from all."""
    synthetic_weight: float = Field(default=1.0, gt=0, exclude_if=_is_one)
    """Weight of a synthetic slice in the loss; a real one has 1."""
    pretrain: float = Field(default=0.0, ge=0, lt=1, exclude_if=_is_zero)
    """Train on the synthetic slices alone for this share of the steps, then on the real ones alone; 0: on both."""
    augment: bool = False
    """Shift and scale slices at random while training."""
    strong_augment: bool = False
    """Instead of `augment`: rotate, shift and scale more, and vary gamma, contrast and noise."""
    augmentation: Annotated[str | None, member_of("augmentation")] = Field(default=None, exclude_if=_is_none)
    """Instead of `augment`: `random_contrast` (GIN: `strong_augment`, and random networks that change the contrast),
    or an augmentation that an installed package adds, by its name."""
    adapt_batch_norm: bool = Field(default=False, exclude_if=_is_off)
    """After training, estimate the statistics of batch norm again on all real images of the training side, labelled or
    not (AdaBN); for networks with batch norm."""
    loss: Annotated[str, member_of("segmentation_loss")] = "cross_entropy"
    """`cross_entropy`, as in the paper; `dice_cross_entropy`: with soft Dice over the batch, as in nnU-Net. Of several
    organs: cross-entropy of all classes, and the mean of the organs' soft Dice."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Adam's learning rate."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Constant learning rate, or half a cosine that falls to 0 over the whole training."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Weight decay, with AdamW; 0: plain Adam."""
    batch_size: int = Field(default=2, ge=1)
    """Slices per step."""
    epochs: int = Field(default=300, ge=1)
    """Passes over the training slices."""
    steps: int = Field(default=0, ge=0)
    """Train for this many steps instead of epochs, so that arms of different size train equally long; 0: epochs."""

    @model_validator(mode="after")
    def _check_organs(self) -> "SegmentSettings":
        if self.outputs > 1:
            registry.check_outputs("segmenter", self.network)
            registry.check_outputs("segmentation_loss", self.loss)
        if self.split == "none":
            raise ValueError("a split that holds out patients or slices for testing, got --split none")
        return self

    @property
    def outputs(self) -> int:
        """Logits per pixel: one for one organ; for several, one of background and one of each."""
        return 1 if len(self.organs) == 1 else 1 + len(self.organs)

    @model_validator(mode="after")
    def _check_slices(self) -> "SegmentSettings":
        if self.without_real and not self.count:
            raise ValueError("--count with it, got --without-real alone: nothing to train on")
        return self

    @model_validator(mode="after")
    def _check_augmentation(self) -> "SegmentSettings":
        names = "augment", "strong_augment", "augmentation"
        chosen = [f"--{name.replace('_', '-')}" for name in names if getattr(self, name)]
        if len(chosen) > 1:
            raise ValueError(f"one augmentation, got {' and '.join(chosen)}")
        return self


def as_recorded(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run, with `frame` and `pixel_mm` added for versions that did not have them."""
    return {**BEFORE_FRAMES, **values}


def pixel_words(values: Mapping[str, Any]) -> str:
    """Pixel size and centre of the frame in words, from settings or a card with these names."""
    known = as_recorded(values)
    if known["frame"] == "stretch":
        return "whole field of view, stretched"
    return f"{known['pixel_mm']:g} mm, centred on the {known['frame']}"
