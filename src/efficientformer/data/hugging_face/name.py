"""Which data sets are Hugging Face's, by names alone: `hf:` and a name of the hub, or a folder in its formats."""

import os
from dataclasses import dataclass
from pathlib import Path

from efficientformer.data.walk import Walk
from efficientformer.paths import HUB

_SAVED = (("dataset_dict.json",), ("dataset_info.json", "state.json"))
"""Files of what `save_to_disk` wrote, several splits or one."""


@dataclass(frozen=True)
class HubName:
    """A data set by its name or folder. config: one of several of that name. label: the column of the classes, where
    several could be that. Written `hf:NAME:CONFIG#LABEL`."""

    source: str
    config: str | None = None
    label: str | None = None

    @classmethod
    def parse(cls, path: Path) -> "HubName":
        text = str(path)
        if not text.startswith(HUB):
            return cls(text)
        text, _, label = text.removeprefix(HUB).partition("#")
        folder = Path(text).expanduser()
        if folder.is_dir():  # which may have a colon in its name
            return cls(str(folder), None, label or None)
        name, _, config = text.partition(":")
        return cls(name, config or None, label or None)

    @property
    def is_saved(self) -> bool:
        """Whether it is a folder that `save_to_disk` wrote."""
        return any(all((Path(self.source) / name).is_file() for name in names) for names in _SAVED)

    @property
    def is_folder(self) -> bool:
        return Path(self.source).is_dir()

    @property
    def short(self) -> str:
        """For people, and as the name of a folder."""
        return os.path.realpath(self.source).rpartition(os.sep)[2]

    @property
    def absolute(self) -> str:
        """The same text as it is found from any folder."""
        source = os.path.realpath(self.source) if self.is_folder else self.source
        config, label = (f"{mark}{text}" if text else "" for mark, text in ((":", self.config), ("#", self.label)))
        return f"{HUB}{source}{config}{label}"


def is_hugging_face(path: Path) -> bool:
    """Whether a path is `hf:...`, what `save_to_disk` wrote, or a folder with Parquet files and without pictures."""
    if str(path).startswith(HUB):
        return True
    if not path.is_dir():
        return False
    if HubName(str(path)).is_saved:
        return True
    has_parquet = any(any(folder.glob("*.parquet")) for folder in (path, path / "data"))
    return has_parquet and not Walk(path).holds_pictures(path)
