"""The design of a survey: its questions, and how it shows its scans."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from crossmod.config import Modality, Settings

# HU for CT. MR values of a survey run from 0 to 1000; `auto` is derived from the image.
WINDOWS: dict[Modality, dict[str, tuple[int, int] | None]] = {
    "ct": {"abdomen": (40, 400), "liver": (60, 160), "bone": (300, 1500), "lung": (-600, 1500)},
    "mr": {"auto": None, "soft": (300, 600), "wide": (500, 1000)},
}


Language = Literal["en", "it"]
Choice = Literal["real", "synthetic", "cannot_tell"]
CHOICES: tuple[Choice, ...] = ("real", "synthetic", "cannot_tell")
REGIONS = ("ribs", "kidneys", "spleen", "liver", "stomach", "vessels", "muscle")
# Answers by question as a form sends them, before `Design.misfit` checks them.
Values = Mapping[str, Any]
# Characters.
LONGEST_REASON = 2000
# Of the realism scale.
REALISM = range(1, 6)
EMPTY = {"reason": "", "realism": REALISM[0], "regions": ()}


class Design(Settings):
    """Settings of a survey; the defaults are those of Crespi et al.: 10 real and 10 synthetic scans, and a reason."""

    name: str
    """Of the survey; not part of any link."""
    modality: Modality
    """Of the scans; determines the windows."""
    unit: Literal["slice", "volume"] = "slice"
    """What is shown at once."""
    real: int = Field(default=10, ge=1)
    """Real scans."""
    synthetic: int = Field(default=10, ge=1)
    """Synthetic scans."""
    layers: tuple[int, int] = (1, 10)
    """Axial layers to draw from, first and last: 1 is the lower end of the kidneys, 10 the dome of the liver."""
    repeats: int = Field(default=0, ge=0)
    """Scans that each reader sees twice, for self-agreement."""
    size: int = Field(default=256, ge=32, le=1024)
    """Pixels per side of all shown scans, real and synthetic."""
    window: tuple[float, float] = (-160.0, 240.0)
    """CT: the HU beyond which values are cut, in real and synthetic scans alike."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    """MR: the percentiles of each case that become 0 and 1000; what lies outside is cut."""
    realism: bool = False
    """Also ask for realism from 1 to 5."""
    regions: bool = False
    """Ask which regions looked wrong, too."""
    seed: int = 0
    """Of the random draw, and of each reader's order."""
    language: Language = "en"
    """Default language, for readers whose invitation sets none."""
    note: str = ""
    """About the scans, for the owner; never shown to readers."""

    @model_validator(mode="after")
    def _check(self) -> "Design":
        if not 1 <= self.layers[0] <= self.layers[1] <= 10:
            raise ValueError(f"two rising layers from 1 to 10, got {self.layers}")
        if self.window[0] >= self.window[1]:
            raise ValueError(f"a window from low to high HU, got {self.window}")
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError(f"two rising percentiles, got {self.percentiles}")
        if self.repeats > self.real + self.synthetic:
            raise ValueError(f"at most as many repeats as scans, got {self.repeats}")
        return self

    @property
    def levels(self) -> tuple[int, int]:
        """The lowest and the highest shown pixel value: HU of CT, 0 to 1000 of MR."""
        return (round(self.window[0]), round(self.window[1])) if self.modality == "ct" else (0, 1000)

    def misfit(self, values: Values) -> str | None:
        """What is wrong with an answer; None if nothing is.

        `choice` is required; `reason`, `realism` and `regions` are optional, and the last two are refused if the survey
        does not ask for them.
        """
        more = {"realism": self.realism, "regions": self.regions}
        asked = {"choice", "reason", *(name for name, is_asked in more.items() if is_asked)}
        if not asked.issuperset(values):
            return "an answer to what was not asked"
        if values.get("choice") not in CHOICES:
            return f"a choice that is none of {', '.join(CHOICES)}"
        reason, realism, regions = (values.get(name, empty) for name, empty in EMPTY.items())
        if not isinstance(reason, str) or len(reason) > LONGEST_REASON:
            return f"a reason that is no text of at most {LONGEST_REASON} characters"
        # Half of a UTF-16 pair, and NUL, which databases do not store: no keyboard sends either.
        if any("\ud800" <= sign <= "\udfff" or sign == "\0" for sign in reason):
            return "a reason that is no text"
        if not isinstance(realism, int) or isinstance(realism, bool) or realism not in REALISM:
            return f"a realism that is no whole number from {REALISM[0]} to {REALISM[-1]}"
        texts = isinstance(regions, list | tuple) and all(isinstance(region, str) for region in regions)
        if not texts or not set(regions) <= set(REGIONS) or len(set(regions)) < len(regions):
            return f"regions that are not some of {', '.join(REGIONS)}"
        return None
