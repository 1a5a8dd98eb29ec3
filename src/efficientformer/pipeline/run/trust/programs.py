"""The programs that settings of a run start, and whether this user has named them.

A run directory may come from somebody else. A setting marked `StartsProgram` therefore counts only if it was named on
this command, or in an earlier command of this user with the directory: `settings.json` then has a signature of it, by a
key outside of the directory. With a relative path it holds for one current folder, since elsewhere the same words start
another program.
"""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from efficientformer.errors import UsageError
from efficientformer.latency.devices import StartsProgram
from efficientformer.pipeline.run.trust.user_key import KeyUnusableError, is_signed, sign

MAX_SHOWN = 300


@dataclass(frozen=True)
class Programs:
    """Programs of a run's settings, by dotted name: `accepted` may be started, `refused` may not.

    named: whether this command named one of the accepted ones.
    reason: why the refused ones are not known to be this user's, where there is more to say.
    """

    accepted: Mapping[str, Any] = field(default_factory=dict)
    refused: Mapping[str, Any] = field(default_factory=dict)
    named: bool = False
    reason: str = ""

    def check(self, root: Path) -> None:
        """Raises UsageError if a program is refused."""
        if self.refused:
            shown = ", ".join(shown_program(name, value) for name, value in self.refused.items())
            raise UsageError(
                f"{root} remembers a program that no command of yours has named there: {shown}. Look at it, and add "
                f"this to the command, once, to have it started; or choose another --device.{self.reason}"
            )

    def to_remember(self, remembered: Any) -> Any:
        """What the run is to remember: what it does already, or the accepted programs, signed.

        Raises KeyUnusableError if they cannot be signed.
        """
        if not self.named:
            return remembered
        folder = str(Path.cwd()) if _depends_on_folder(self.accepted) else None
        content = {"accepted": dict(self.accepted), "folder": folder}
        return {**content, "signature": sign(content)}


def find_programs(settings: BaseModel, named: Mapping[str, Any], remembered: Any) -> Programs:
    """The programs of a run's settings.

    named: values given on this command, nested as settings are.
    remembered: what `Programs.to_remember` gave an earlier command, or whatever the directory holds in its place.
    """
    programs = program_settings(settings)
    own = {name for name, value in programs.items() if _value(named, name) == value}
    signed, reason = _signed_values(remembered) if own != set(programs) else ({}, "")
    accepted = {name: value for name, value in programs.items() if name in own or signed.get(name) == value}
    refused = {name: value for name, value in programs.items() if name not in accepted}
    return Programs(accepted, refused, bool(own), reason)


def program_settings(settings: BaseModel, group: str = "") -> dict[str, Any]:
    """Values, by dotted name, of the settings that start a program."""
    programs: dict[str, Any] = {}
    for name, about in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            programs |= program_settings(value, f"{group}{name}.")
        elif any(isinstance(mark, StartsProgram) and mark.starts(value) for mark in about.metadata):
            programs[f"{group}{name}"] = value
    return programs


def shown_program(name: str, value: Any) -> str:
    """The option as it is written on the command line; what a terminal would interpret is shown as text."""
    flag, text = f"--{name.replace('_', '-')}", shlex.quote(str(value))
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return f"{flag} {text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + ' ...'}"


def _signed_values(remembered: Any) -> tuple[Mapping[str, Any], str]:
    """Values that this user has signed, and why there are none."""
    accepted = remembered.get("accepted") if isinstance(remembered, dict) else None
    if not isinstance(accepted, dict) or not all(isinstance(value, str) for value in accepted.values()):
        return {}, ""
    content = {"accepted": accepted, "folder": str(folder) if (folder := remembered.get("folder")) else None}
    try:
        if not is_signed(content, remembered.get("signature")):
            return {}, " (Its signature is not yours, or the program was changed.)"
    except KeyUnusableError as error:
        return {}, f" {error}"
    if content["folder"] not in (None, str(Path.cwd())):
        return {}, f" (It was named in {content['folder']}; the same path starts another program here.)"
    return content["accepted"], ""


def _depends_on_folder(programs: Mapping[str, Any]) -> bool:
    """Whether a word is a path relative to the current folder."""
    words = [word for value in programs.values() for word in re.split(r"[:\s'\"=]+", str(value)) if word]
    return any(
        not Path(word).is_absolute() and word[0] != "~" and (not {"/", "\\"}.isdisjoint(word) or os.path.lexists(word))
        for word in words
    )


def _value(named: Mapping[str, Any], name: str) -> Any:
    value: Any = named
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
