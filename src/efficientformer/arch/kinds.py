"""Values of several kinds as JSON: the name of the kind, and what of its options is not at its default."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, ClassVar, Protocol, TypeVar

from efficientformer.errors import ArchitectureError


class OfKind(Protocol):
    """A frozen dataclass whose class has a `kind`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    kind: ClassVar[Any]


Options = TypeVar("Options")


def kind_to_json(value: OfKind) -> dict[str, Any]:
    options = {name: option for name, option in asdict(value).items() if option != getattr(type(value), name)}
    return {"kind": value.kind, **options}


def value_of_kind(content: Any, kinds: Mapping[Any, type[Options]], what: str = "block") -> Options:
    """What `kind_to_json` wrote, as one of these kinds of `what`. Raises ArchitectureError."""
    options = dict(content) if isinstance(content, dict) else {}
    kind = options.pop("kind", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise ArchitectureError(f"Unknown {what} kind {str(kind)[:60]!r}; the kinds are {', '.join(kinds)}.")
    known = {field.name for field in fields(kinds[kind])}  # type: ignore[arg-type]
    if unknown := set(options) - known:
        raise ArchitectureError(f"{kind} has no option {str(sorted(unknown))[:200]}; its options are {sorted(known)}.")
    return kinds[kind](**options)


def require_option(name: str, value: Any, most: int) -> None:
    """Raise ArchitectureError unless an option, by its name, is a positive integer up to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ArchitectureError(f"{name} must be a positive integer up to {most}, not {str(value)[:60]!r}.")
