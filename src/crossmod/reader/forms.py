"""What a reader's form may hold."""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from crossmod.reader.design import LONGEST_REASON, REGIONS, Choice, Design


def _plain(text: Any) -> Any:
    """Browsers send two characters for a line's end and count one; control characters are nobody's reason."""
    if not isinstance(text, str):
        return text
    text = text.replace("\r\n", "\n")
    return "".join(c for c in text if c in "\n\t" or c.isprintable()).strip()


def _seconds(text: Any) -> float:
    """The browser's count, or 0 where it makes no sense: an answer is not lost for it."""
    try:
        seconds = float(text)
    except (TypeError, ValueError):
        return 0.0
    return seconds if math.isfinite(seconds) and seconds >= 0 else 0.0


class AnswerForm(BaseModel):
    """One answer as the page sends it."""

    scan: str = Field(pattern="^[0-9a-f]{32}$")
    choice: Choice
    reason: Annotated[str, BeforeValidator(_plain)] = Field("", max_length=LONGEST_REASON)
    realism: int | None = Field(None, ge=1, le=5)
    regions: list[Literal[REGIONS]] = []  # type: ignore[valid-type]
    seconds: Annotated[float, BeforeValidator(_seconds)] = 0.0
    key: str = Field(pattern="^[0-9a-f-]{16,64}$")

    def values(self, design: Design) -> dict[str, Any]:
        """By question, only what the design asks for."""
        values: dict[str, Any] = {"choice": self.choice, "reason": self.reason}
        if design.realism and self.realism is not None:
            values["realism"] = self.realism
        if design.regions:
            # As they stand on the page, each once.
            values["regions"] = [region for region in REGIONS if region in self.regions]
        return values
