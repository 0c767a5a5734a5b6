"""Scale: what all slices of a training have in common, millimetres and pixels, whoever and whatever they show."""

from dataclasses import dataclass

from crossmod.data.body_box import BodyBox
from crossmod.data.centre import centre_of, field_centre
from crossmod.data.frame import Frame, Pair, Shape, whole_frame
from crossmod.data.store import CaseRecord, Store
from crossmod.settings import FrameKind, ImageSettings, TranslateSettings


@dataclass(frozen=True)
class Scale:
    """How slices become pixels.

    Args:
        kind: what a frame is centred on; `stretch`: the whole field of view is stretched to the size.
        size: pixels a side.
        pixel_mm: millimetres of a pixel; 0 where the field is stretched.
    """

    kind: FrameKind
    size: int
    pixel_mm: float

    def __post_init__(self) -> None:
        # A mistake of the program: who trains settles it first (`crossmod.data.extent.settle`).
        if (self.pixel_mm > 0) == (self.kind == "stretch"):
            raise ValueError(f"millimetres of a pixel, and none where the field is stretched, got {self}")

    def centred(self, shape: Shape, spacing: Pair, centre: Pair) -> Frame:
        """The frame of slices of this shape, around a centre: millimetres from the first pixel's."""
        if self.kind == "stretch":
            return whole_frame(shape, spacing, self.size)
        return Frame(self.size, (self.pixel_mm, self.pixel_mm), centre)

    def frame(self, shape: Shape, spacing: Pair, body: BodyBox) -> Frame:
        """The frame of slices with a body in them."""
        return self.centred(shape, spacing, body.centre if self.kind == "body" else field_centre(shape, spacing))

    def frame_of(self, store: Store, record: CaseRecord) -> Frame:
        """The frame of a case.

        Raises:
            InputError: the manifest does not say where the body lies, and the case cannot be read.
        """
        shape, spacing = (record.shape[1], record.shape[2]), (record.spacing[1], record.spacing[2])
        return self.centred(shape, spacing, centre_of(store, record, self.kind))


def model_scale(settings: ImageSettings) -> Scale:
    """What a network sees."""
    return Scale(settings.frame, settings.size, settings.pixel_mm)


def training_scale(settings: TranslateSettings) -> Scale:
    """What slices are loaded at for training a translator, which cuts random windows out of them."""
    return Scale(settings.frame, settings.loaded, settings.loaded_mm)
