"""Paths that were given: those that no file can have are refused in one line, before they are used."""

from pathlib import Path

from efficientformer.errors import UsageError
from efficientformer.reading import shown_path


def usable_path(given: Path | str, what: str) -> Path:
    """The path, whether or not something is there.

    Raises UsageError for a name that is too long, a character that no name can have, a link that leads back to itself,
    and a folder that may not be entered; `what` names the argument.
    """
    try:
        Path(given).stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise UsageError(f"{what} {shown_path(given)}: {error.strerror or error}. Choose another path.") from error
    except ValueError as error:  # a null byte, half of a character
        raise UsageError(f"{what} {shown_path(given)} cannot be a path: {error}.") from error
    return Path(given)
