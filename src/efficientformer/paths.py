"""Paths that were given, of which those that no file can have are refused in one line, and this user's folders."""

import os
import sys
from pathlib import Path
from typing import Literal

from efficientformer.errors import UsageError
from efficientformer.reading import shown_path

HUB = "hf:"
"""Begins the name of a data set of the Hugging Face hub, in place of a path."""


ADDRESSES = ("http:/", "https:/")
"""Begin an address in place of a path; a `Path` of it has one slash."""


def is_address(text: str) -> bool:
    return text.startswith(ADDRESSES)


def usable_path(given: Path | str, what: str) -> Path:
    """The path, whether or not something is there.

    Raises UsageError for a name that is too long, a character that no name can have, a link that leads back to itself,
    and a folder that may not be entered; `what` names the argument.
    """
    if str(given).startswith((HUB, *ADDRESSES)):
        return Path(given)
    try:
        Path(given).stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise UsageError(f"{what} {shown_path(given)}: {error.strerror or error}. Choose another path.") from error
    except ValueError as error:  # a null byte, half of a character
        raise UsageError(f"{what} {shown_path(given)} cannot be a path: {error}.") from error
    return Path(given)


def user_folder(kind: Literal["config", "cache"]) -> Path:
    """This user's own folder, outside of run directories, which are shared: of settings, or of what can be made again.

    It is `efficientformer` in $XDG_CONFIG_HOME or $XDG_CACHE_HOME, by default ~/.config or ~/.cache; on macOS in
    ~/Library/Application Support or ~/Library/Caches, on Windows in %APPDATA% or %LOCALAPPDATA%. Raises RuntimeError
    for a user without a home folder.
    """
    given = os.environ.get(f"XDG_{kind.upper()}_HOME", "")
    if Path(given).is_absolute():  # a relative one is ignored, as its specification says
        return Path(given) / "efficientformer"
    is_config = kind == "config"
    match sys.platform:
        case "win32":
            name, usual = ("APPDATA", "Roaming") if is_config else ("LOCALAPPDATA", "Local")
            folder = Path(os.environ.get(name) or Path.home() / "AppData" / usual)
        case "darwin":
            folder = Path.home() / "Library" / ("Application Support" if is_config else "Caches")
        case _:
            folder = Path.home() / f".{kind}"
    return folder / "efficientformer"
