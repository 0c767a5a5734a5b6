"""The settings of `evaluate images`."""

from typing import Literal

from pydantic import Field, model_validator

from crossmod.config import Settings


class EvaluationSettings(Settings):
    """How synthetic images are compared with real ones; the defaults count whole slices, as in Crespi et al."""

    sequence: str | None = None
    """MR sequence (or CT phase) of the real cases; default: the synthetic's."""
    size: int | None = Field(default=None, ge=16)
    """Side of the compared slices in pixels; default: the synthetic's, the smallest of several."""
    window: tuple[float, float] = (-160.0, 240.0)
    """CT: the HU that become black and white, on both sides; values outside are clipped."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    """MR: the percentiles of each case that become black and white, on both sides."""
    detector: str = "random"
    """Network whose features give the Fréchet and kernel distance: random, inception (needs the extra `fid`), or the
    path of a weights file of Inception."""
    draws: int = Field(default=1000, ge=0)
    """Draws of patients for the intervals; 0: none."""
    seed: int = 0
    """Seed for selecting the patients of the baseline, for reducing sets to equal numbers, and for the draws."""
    inside: bool = False
    """Count histograms only inside the body; the paper counts whole slices, half of which is air."""
    unseen: bool = False
    """Leave out the real patients that one of the models was trained on."""
    same_people: Literal["yes", "no"] | None = None
    """Whether equal case names in two stores are one person, if there are no patient ids; default: yes."""

    @model_validator(mode="after")
    def _check_intensity(self) -> "EvaluationSettings":
        if self.window[0] >= self.window[1]:
            raise ValueError(f"a window from low to high HU, got {self.window}")
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError(f"two rising percentiles between 0 and 100, got {self.percentiles}")
        return self
