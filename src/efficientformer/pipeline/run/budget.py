"""Budgets: `8ms` is absolute, `40%` a share of the largest network of the search space, measured on this device."""

import math
import re
from dataclasses import dataclass

from efficientformer.errors import UsageError

_FORM = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(ms|us|s|%)\s*", re.IGNORECASE)
_MS_PER_UNIT = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class Budget:
    """A latency budget: `text` as the user wrote it; `slug` is the name of its folder."""

    text: str
    value: float
    unit: str

    @property
    def slug(self) -> str:
        return f"{_shortest(self.value)}{'pct' if self.unit == '%' else self.unit}"

    @property
    def is_share(self) -> bool:
        return self.unit == "%"

    def latency_ms(self, largest_ms: float) -> float:
        """The budget in milliseconds, if the largest network takes `largest_ms`."""
        return self.value / 100 * largest_ms if self.is_share else self.value * _MS_PER_UNIT[self.unit]


def parse_budget(text: str) -> Budget:
    """Raises UsageError for anything but a positive, finite number with ms, us, s or %."""
    match = _FORM.fullmatch(text)
    value = float(match[1]) if match else 0.0
    if match is None or not 0 < value < math.inf:
        raise UsageError(f"--budget {text!r} is not a latency: write 8ms, 800us or 40% (of the largest network).")
    unit = match[2].lower()
    if unit == "%" and value >= 100:
        raise UsageError(f"--budget {text!r} needs no slimming: a share must be below 100%.")
    return Budget(f"{_shortest(value)}{unit}", value, unit)


def _shortest(value: float) -> str:
    """Six digits where these are exact, else all that distinguish the value: no two budgets share a folder."""
    return text if float(text := f"{value:g}") == value else repr(value)


def parse_budgets(texts: tuple[str, ...]) -> list[Budget]:
    """Budgets without repetition, in the order given. Raises UsageError if there is none."""
    budgets = list(dict.fromkeys(map(parse_budget, texts)))
    if not budgets:
        raise UsageError("At least one --budget is needed, such as --budget 8ms or --budget 40%.")
    return budgets
