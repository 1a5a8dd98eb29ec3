"""Where settings come from: presets are recipes written down as given values, and given values stand above them.

A setting comes from the command line, else from a YAML file, else from the run directory's memory, else from the
preset. Unknown names and wrong types are refused.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from efficientformer.errors import UsageError
from efficientformer.pipeline.run.settings import Settings

PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "training_threads": 1,
        "supernet": {"sampling": "even", "noise": "gumbel"},
        "slim": {"bn_images": 0, "actions": "every", "polish": 64},
        "verify": {"rounds": 200},
    },
    "standard": {
        "resolution": 128,
        "space": "standard",
        "workers": 2,
        "supernet": {"epochs": 40, "sampling": "even", "noise": "gumbel", "augmentation": "standard"},
        "slim": {"bn_images": 0, "actions": "every", "stride": 0.1, "polish": 64},
        "train": {
            "epochs": 100,
            "lr_warmup_epochs": 5.0,
            "augmentation": "standard",
            "mixup": 0.2,
            "cutmix": 0.2,
            "ema_decay": 0.999,
            "evaluate_every": 10,
        },
    },
    "imagenet": {
        "resolution": 224,
        "space": "imagenet",
        "workers": 8,
        "supernet": {"epochs": 300, "batch_size": 256, "lr": 1e-3, "lr_warmup_epochs": 5.0, "augmentation": "strong"},
        "slim": {"images": 10000, "bn_images": 2048, "judge": "top1"},
        "train": {
            "epochs": 300,
            "batch_size": 256,
            "lr": 1e-3,
            "lr_warmup_epochs": 5.0,
            "augmentation": "strong",
            "mixup": 0.8,
            "cutmix": 1.0,
            "ema_decay": 0.9999,
            "evaluate_every": 10,
        },
    },
    "fine_tune": {
        "resolution": 224,
        "space": "imagenet",
        "workers": 2,
        "train": {
            "epochs": 20,
            "lr": 5e-4,
            "layer_decay": 0.75,
            "frozen_epochs": 1.0,
            "augmentation": "standard",
            "ema_decay": 0.999,
        },
    },
}


def merge_given(*layers: dict[str, Any]) -> dict[str, Any]:
    """Given values of all layers, later layers winning."""
    given: dict[str, Any] = {}
    for layer in layers:
        given = _merge(given, layer)
    return given


def resolve_settings(given: dict[str, Any]) -> Settings:
    """Given values on top of the preset they name.

    Without a preset, `quick` serves the shipped sample and `standard` a folder of images. Raises UsageError.
    """
    preset = given.get("preset") or ("standard" if given.get("data") else "quick")
    if preset not in PRESETS:
        raise UsageError(f"Unknown preset {preset!r}; choose one of {', '.join(PRESETS)}.")
    values = _merge(PRESETS[preset], {**given, "preset": preset})
    if preset == "quick" and values.get("data") and "resolution" not in values:
        values["resolution"] = 64
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise UsageError(unusable(error)) from error


def unusable(error: ValidationError) -> str:
    """What is wrong with settings, each by its name as it is written in a file."""
    problems = []
    for found in error.errors():
        name, message = ".".join(map(str, found["loc"])), found["msg"].removeprefix("Value error, ")
        problems.append(f"{name}: {message}" if name else message)
    return f"Settings that cannot be used: {'; '.join(problems)}."


def read_yaml(path: Path) -> dict[str, Any]:
    """Given values from a YAML file. Raises UsageError when it is not a mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"--config {path} does not exist.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"--config {path} is not readable YAML: {error}.") from error
    if not isinstance(content, dict):
        raise UsageError(f"--config {path} must hold names and values, such as 'train: {{epochs: 30}}'.")
    return content


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        nested = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merge(merged[name], value) if nested else value
    return merged
