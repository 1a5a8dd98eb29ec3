"""Letters of any script on a picture, from the fonts that are installed on this machine.

Pillow's own font has the letters of English alone. A character that no font has is written without its accent, or else
as its escape, and named: a box in its place would look like every other one.
"""

import os
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from PIL import ImageDraw, ImageFont

from efficientformer.visible import escape, visible

FOLDERS = (
    *("~/.fonts", "~/.local/share/fonts", "/usr/share/fonts", "/usr/local/share/fonts"),
    *("~/Library/Fonts", "/Library/Fonts", "/System/Library/Fonts"),
    *("%WINDIR%/Fonts", "%LOCALAPPDATA%/Microsoft/Windows/Fonts", "/data/data/com.termux/files/usr/share/fonts"),
)
MOST_FILES = 3000
PLAIN_LAST = ("bold", "italic", "oblique", "mono", "condensed", "narrow", "light", "thin", "black", "serif")
NO_LETTERS = ("lastresort", "wingding", "webding")
NOWHERE = "\U0010ffff"
"""A character that no font has: what is drawn for it is drawn for every missing one."""


def font_files() -> list[Path]:
    """Fonts of the usual folders, plain ones first."""
    found: list[Path] = []
    for folder in FOLDERS:
        for root, _, names in os.walk(os.path.expandvars(Path(folder).expanduser())):
            found += [Path(root, name) for name in names if name.lower().endswith((".ttf", ".otf", ".ttc"))]
    usable = [path for path in found if not any(word in path.name.lower() for word in NO_LETTERS)]
    return sorted(usable, key=_plainness)[:MOST_FILES]


class Lettering:
    """Draws given texts in one size. `missing`: their characters that no font has, in order."""

    def __init__(self, texts: Iterable[str], size: int) -> None:
        own = ImageFont.load_default(size)
        assert isinstance(own, ImageFont.FreeTypeFont)
        self._fonts = [_Font(own)]
        wanted = {character for text in texts for character in visible(text) if not _joins(character)}
        open_ones = {character for character in wanted if not self._fonts[0].has(character)}
        for path in font_files() if open_ones else ():
            font = _opened(path, size)
            if font is not None and (found := {character for character in open_ones if font.has(character)}):
                self._fonts.append(font)
                open_ones -= found
            if not open_ones:
                break
        self.missing = sorted(open_ones)

    def length(self, text: str) -> float:
        """Pixels from the start of the text to its end."""
        return sum(run.font.getlength(part) for part, run in self._runs(text))

    def draw(self, draw: ImageDraw.ImageDraw, x: float, y: float, text: str, ink: tuple[int, int, int]) -> None:
        """Draw the text with its baseline at `y`."""
        for part, run in self._runs(text):
            draw.text((x, y), part, font=run.font, fill=ink, anchor="ls")
            x += run.font.getlength(part)

    def shortened(self, text: str, width: float) -> str:
        """The longest start of the text that is at most `width` pixels long, with an ellipsis if it was cut."""
        text = text[: 4 * int(width)]
        if self.length(text) <= width:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.length(text[:middle] + "…") <= width else (low, middle - 1)
        return text[:low] + "…"

    def written(self, text: str) -> str:
        """The text as it is drawn: what acts and what no font has as escapes."""
        text = "".join(map(self._with_letters, visible(text)))
        return text if self._font_of(text) else "".join(filter(lambda character: not _joins(character), text))

    def _with_letters(self, character: str) -> str:
        if character not in self.missing:
            return character
        base = unicodedata.normalize("NFKD", character)[:1]
        return base if base != character and base.isprintable() and self._font_of(base) else escape(character)

    def _font_of(self, text: str) -> "_Font | None":
        return next((font for font in self._fonts if all(map(font.has, text))), None)

    def _runs(self, text: str) -> "Iterator[tuple[str, _Font]]":
        """Parts of the text, each with a font: one for the whole text if there is one."""
        if (whole := self._font_of(text)) is not None:
            yield text, whole
            return
        part, current = "", self._fonts[0]
        for character in text:
            font = current if current.has(character) else self._font_of(character) or current
            if font is not current and part:
                yield part, current
                part = ""
            part, current = part + character, font
        yield part, current


class _Font:
    def __init__(self, font: ImageFont.FreeTypeFont) -> None:
        self.font = font
        # Laid out one by one: Raqm puts a circle below an accent that stands alone.
        self._single = font.font_variant(layout_engine=ImageFont.Layout.BASIC)
        self._has: dict[str, bool] = {}

    def has(self, character: str) -> bool:
        if character not in self._has:
            self._has[character] = character == " " or self._drawn(character) != self._nothing
        return self._has[character]

    @cached_property
    def _nothing(self) -> tuple[tuple[int, int], bytes]:
        return self._drawn(NOWHERE)

    def _drawn(self, character: str) -> tuple[tuple[int, int], bytes]:
        mask = self._single.getmask(character)
        return mask.size, bytes(mask)  # type: ignore[arg-type]  # It is a sequence of bytes.


def _opened(path: Path, size: int) -> _Font | None:
    try:
        font = _Font(ImageFont.truetype(str(path), size))
        font.has("A")
        return font
    except Exception:  # Fonts are files of others: damaged, of bitmaps in one size, of kinds that are not read.
        return None


def _joins(character: str) -> bool:
    """Whether a character only changes how its neighbors are drawn."""
    return character in "\u200c\u200d" or "\ufe00" <= character <= "\ufe0f"


def _plainness(path: Path) -> tuple[int, bool, str]:
    name = path.name.lower()
    return sum(word in name for word in PLAIN_LAST), "sans" not in name, name
