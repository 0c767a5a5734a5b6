"""The windows that can be chosen, by modality: level and width, the same for every scan."""

from crossmod.config import Modality

# In HU for CT. MR values of a survey run from 0 to 1000; `auto` goes by the image itself.
WINDOWS: dict[Modality, dict[str, tuple[int, int] | None]] = {
    "ct": {"abdomen": (40, 400), "liver": (60, 160), "bone": (300, 1500), "lung": (-600, 1500)},
    "mr": {"auto": None, "soft": (300, 600), "wide": (500, 1000)},
}
