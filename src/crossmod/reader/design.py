"""What a survey asks and how it shows its scans: settings in a short file."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from crossmod.config import Modality, Settings

# In HU for CT. MR values of a survey run from 0 to 1000; `auto` goes by the image itself.
WINDOWS: dict[Modality, dict[str, tuple[int, int] | None]] = {
    "ct": {"abdomen": (40, 400), "liver": (60, 160), "bone": (300, 1500), "lung": (-600, 1500)},
    "mr": {"auto": None, "soft": (300, 600), "wide": (500, 1000)},
}


Language = Literal["en", "it"]
Choice = Literal["real", "synthetic", "cannot_tell"]
CHOICES: tuple[Choice, ...] = ("real", "synthetic", "cannot_tell")
REGIONS = ("ribs", "kidneys", "spleen", "liver", "stomach", "vessels", "muscle")
# A reason longer than this is no reason.
LONGEST_REASON = 2000
# Of the realism scale.
REALISM = range(1, 6)


class Design(Settings):
    """How a survey is made; the defaults are those of Crespi et al.: 10 real and 10 synthetic scans, and a reason."""

    name: str
    """Of the survey; part of no link."""
    modality: Modality
    """Of the scans; decides which windows there are."""
    unit: Literal["slice", "volume"] = "slice"
    """What is shown at once."""
    real: int = Field(default=10, ge=1)
    """Real scans."""
    synthetic: int = Field(default=10, ge=1)
    """Synthetic scans."""
    layers: tuple[int, int] = (1, 10)
    """Axial layers to draw from, first and last: 1 is the lower end of the kidneys, 10 the dome of the liver."""
    repeats: int = Field(default=0, ge=0)
    """Scans that each reader sees a second time, for self-agreement."""
    size: int = Field(default=256, ge=32, le=1024)
    """Pixels a side at which all scans are shown, real and synthetic alike."""
    window: tuple[float, float] = (-160.0, 240.0)
    """CT: the HU beyond which values are cut, in real and synthetic scans alike."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    """MR: the percentiles of each case that become 0 and 1000; what lies outside is cut."""
    realism: bool = False
    """Ask for realism from 1 to 5, too."""
    regions: bool = False
    """Ask which regions looked wrong, too."""
    seed: int = 0
    """Of the draw, and of each reader's order."""
    language: Language = "en"
    """Of readers who were not invited in another."""
    note: str = ""
    """What the owner is told about the scans; never shown to readers."""

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
        """The lowest and the highest value of a pixel that is shown: HU of CT, 0 to 1000 of MR."""
        return (round(self.window[0]), round(self.window[1])) if self.modality == "ct" else (0, 1000)

    def misfit(self, values: Mapping[str, Any]) -> str | None:
        """What is wrong with an answer; None where nothing is.

        `choice` is needed; `reason`, `realism` and `regions` may be left out, the last two always where the survey does
        not ask for them.
        """
        more = {"realism": self.realism, "regions": self.regions}
        asked = {"choice", "reason", *(name for name, expected in more.items() if expected)}
        if not asked.issuperset(values):
            return "an answer to what was not asked"
        if values.get("choice") not in CHOICES:
            return f"a choice that is none of {', '.join(CHOICES)}"
        return _misfit_reason(values) or _misfit_realism(values) or _misfit_regions(values)


def _misfit_reason(values: Mapping[str, Any]) -> str | None:
    reason = values.get("reason", "")
    if not isinstance(reason, str) or len(reason) > LONGEST_REASON:
        return f"a reason that is no text of at most {LONGEST_REASON} characters"
    # Half of a pair of UTF-16, and the character that no database keeps: no keyboard sends either.
    broken = any("\ud800" <= sign <= "\udfff" or sign == "\0" for sign in reason)
    return "a reason that is no text" if broken else None


def _misfit_realism(values: Mapping[str, Any]) -> str | None:
    realism = values.get("realism", REALISM[0])
    fits = isinstance(realism, int) and not isinstance(realism, bool) and realism in REALISM
    return None if fits else f"a realism that is no whole number from {REALISM[0]} to {REALISM[-1]}"


def _misfit_regions(values: Mapping[str, Any]) -> str | None:
    regions = values.get("regions", [])
    fits = isinstance(regions, list | tuple) and all(isinstance(region, str) for region in regions)
    if not fits or not set(regions) <= set(REGIONS) or len(set(regions)) < len(regions):
        return f"regions that are not some of {', '.join(REGIONS)}"
    return None
