"""What a model's card says about the images of its training, and where it is found."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from crossmod.config import Modality, Settings, build
from crossmod.inference.contract import Network
from crossmod.metrics.appearance import BINS, FEATURES, LAYOUT, QUANTITIES
from crossmod.metrics.fingerprint import MOST_PATIENTS, SLICES_EACH

KEY = "fingerprint"
# Earlier versions looked at up to 64 slices of one patient.
MOST_SLICES_EACH = max(64, SLICES_EACH)

Bins = Annotated[tuple[float, ...], Field(min_length=BINS, max_length=BINS)]
Features = Annotated[tuple[float, ...], Field(min_length=FEATURES, max_length=FEATURES)]
Cells = Annotated[tuple[float, ...], Field(max_length=LAYOUT)]
Distances = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(max_length=MOST_PATIENTS)]
ByPatient = Annotated[tuple[float, ...], Field(max_length=MOST_PATIENTS)]
Quantity = Literal["noise", "texture", "edges", "area", "down", "across"]
Percent = Annotated[float, Field(ge=0, le=100)]


class ImagesLook(Settings):
    """One kind of image over the training patients: an input, the target, or what the model makes."""

    histogram: Bins
    """Shares of the body's pixels in equal bins of [-1, 1]."""
    mean: Features
    """Of the features of a slice."""
    variance: Features
    """The same over slices."""
    histogram_distances: Distances
    """Of each patient to the rest, by grey values; empty with one patient."""
    feature_distances: Distances
    """By features."""
    layout: Cells = ()
    """Mean of each of 8 x 8 cells of the body's box; empty in cards of earlier versions, which are not compared."""
    layout_variance: Cells = ()
    """The same over slices."""
    layout_distances: Distances = ()
    """Of each patient to the rest, by layout."""
    quantities: dict[Quantity, ByPatient] = Field(default_factory=dict)
    """By patient: logarithms of noise, texture, edges (units of [-1, 1]) and area (mm2); slopes of brightness."""
    upright: ByPatient = ()
    """How well front and back agree with the other patients: Fisher's z, negative where they are exchanged."""
    sides: ByPatient = ()
    """The same of left and right."""
    structure: ByPatient = ()
    """Of what the model makes: how much of the source's structure it shows, by patient."""
    organs: dict[str, ByPatient] = Field(default_factory=dict, max_length=64)
    """Median of each organ in [-1, 1], by patient, where labels are known."""

    @property
    def complete(self) -> bool:
        """Whether images can be compared with it: earlier versions measured something else."""
        return len(self.layout) == len(self.layout_variance) == LAYOUT and set(self.quantities) == set(QUANTITIES)


class Fingerprint(Settings):
    """What a training run's card says of its images, under `fingerprint`."""

    modality: Modality
    """Of the inputs."""
    slices: Literal["organ", "all"]
    """Whether only slices that show the organ were trained on."""
    organs: Annotated[tuple[str, ...], Field(max_length=64)]
    """Which."""
    loaded: int = Field(ge=8, le=4096)
    """Pixels a side at which training held its slices."""
    size: int = Field(ge=8, le=4096)
    """And at which they were looked at."""
    window: tuple[float, float]
    """Of CT, in HU."""
    percentiles: tuple[Percent, Percent]
    """Of MR."""
    detector: str = Field(max_length=64)
    """Hash of what the features are of."""
    patients: int = Field(ge=1)
    """That were trained on."""
    slices_each: int = Field(ge=1, le=MOST_SLICES_EACH)
    """That were looked at."""
    inputs: Annotated[tuple[ImagesLook, ...], Field(min_length=1, max_length=8)]
    """In the model's order."""
    target: ImagesLook | None = None
    """Of real images of the modality that is made; null in cards of earlier versions."""
    made: ImagesLook | None = None
    """Of what the model makes of its training slices."""
    made_epoch: Literal["best", "last"] = "last"
    """Which weights made them."""


def read_fingerprint(card: Mapping[str, Any], subject: object = "card") -> Fingerprint | None:
    """The fingerprint in a card; None in one of before there were any.

    Raises:
        InputError: it is damaged.
    """
    return build(Fingerprint, card[KEY], subject=subject) if card.get(KEY) is not None else None


def fingerprint_of(networks: Sequence[Network]) -> Fingerprint | None:
    """What is known of the images that networks were trained on: of several, the first that knows.

    What the model makes is left out where several networks answer together, or where other weights are used than made
    it: their images look different.
    """
    for network in networks:
        translator = getattr(network, "translator", None)
        own = getattr(network, KEY, None)
        card = getattr(translator, "card", None) or {KEY: own}
        found = own if isinstance(own, Fingerprint) else read_fingerprint(card, network.about.name)
        if found is None:
            continue
        used = found.made_epoch if translator is None else ("best" if translator.best else "last")
        if len(networks) > 1 or used != found.made_epoch:
            return found.model_copy(update={"made": None})
        return found
    return None
