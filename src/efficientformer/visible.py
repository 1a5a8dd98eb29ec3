"""Text of users as text: what would act on a terminal, a page or a line is written as an escape instead.

Names of classes, files and networks come from anywhere. Records and JSON documents keep them exactly; what people look
at (terminal, page, contact sheet) shows them by `visible`. Standard library only.
"""

import re
import unicodedata

_JOINERS = "\u200c\u200d"
"""Part of the spelling of several scripts, and of emoji."""
_ACTING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_PLAIN = re.compile(r"[ -~]*")


def visible(text: str) -> str:
    r"""`text` with control characters, line breaks, marks of direction and lone surrogates as escapes (`\x1b`).

    The lone surrogates are bytes of file names that are no UTF-8.
    """
    if _PLAIN.fullmatch(text):
        return text
    return "".join(map(_shown, text))


def shortened(text: str, length: int) -> str:
    """`text`, cut to `length` characters with an ellipsis as the last one."""
    return text if len(text) <= length else text[: length - 1] + "…"


def escape(character: str) -> str:
    r"""A character as Python writes it: `\x1b`, `\u202e`, `\U0001f408`."""
    return character.encode("unicode_escape", errors="surrogatepass").decode("ascii")


def _shown(character: str) -> str:
    acts = unicodedata.category(character) in _ACTING and character not in _JOINERS
    return escape(character) if acts else character
