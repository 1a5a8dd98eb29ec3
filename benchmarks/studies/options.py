"""Arguments of a study: its own, and settings of the runs that it makes, by name after `--`."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import yaml

from efficientformer.pipeline.run.resolve_settings import merge_given


def parse(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The script's own arguments, and the settings after `--`."""
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    return parser.parse_args(sys.argv[1:at]), settings_of(sys.argv[at + 1 :])


def settings_of(words: Sequence[str]) -> dict[str, Any]:
    """Settings of words such as `train.epochs=12`, as the verbs take them by name.

    Values are YAML; a repeated name makes a list: `budget=8ms budget=4ms`. Raises SystemExit for a word without `=`.
    """
    values: dict[str, list[Any]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise SystemExit(f"{word!r} is not a setting: after -- write name=value, such as train.epochs=12.")
        values.setdefault(name, []).append(yaml.safe_load(text))
    given: dict[str, Any] = {}
    for name, given_values in values.items():
        value: Any = given_values if len(given_values) > 1 else given_values[0]
        for part in reversed(name.split(".")):
            value = {part: value}
        given = merge_given(given, value)
    return given
