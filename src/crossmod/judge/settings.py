"""What a judgement of images asks, option by option."""

from typing import Literal

from pydantic import Field, model_validator

from crossmod.config import Settings


class JudgeSettings(Settings):
    """How synthetic images are held against real ones; the defaults count whole slices, as Crespi et al. do."""

    sequence: str | None = None
    """MR sequence (or CT phase) of the real cases; default: the synthetic's."""
    size: int | None = Field(default=None, ge=16)
    """Pixels a side at which all slices are compared; default: the synthetic's, the smallest of several."""
    window: tuple[float, float] = (-160.0, 240.0)
    """CT: the HU that become black and white; what lies outside is cut, on both sides."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    """MR: the percentiles of each case that become black and white, on both sides."""
    detector: str = "random"
    """Network of whose features Fréchet and kernel distance are taken: random, inception (needs the extra `fid`), or
    the path of a weights file of Inception."""
    draws: int = Field(default=1000, ge=0)
    """Draws of patients for the intervals; 0: none."""
    seed: int = 0
    """Seed of which patients are held apart for the baseline, of equal numbers, and of the draws."""
    inside: bool = False
    """Count histograms inside the body only; the paper counts whole slices, half of which is air."""
    unseen: bool = False
    """Leave out the real patients that one of the models was trained on."""
    same_people: Literal["yes", "no"] | None = None
    """Whether equal case names in two stores are one person, where no patient id tells; default: as if they were."""

    @model_validator(mode="after")
    def _check_intensity(self) -> "JudgeSettings":
        if self.window[0] >= self.window[1]:
            raise ValueError(f"a window from low to high HU, got {self.window}")
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError(f"two rising percentiles between 0 and 100, got {self.percentiles}")
        return self
