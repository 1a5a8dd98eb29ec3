"""Made up rows and records of shortlists."""

from typing import Any, cast

from efficientformer.formats.shortlist import ShortlistRecord, ShortlistRow


def made_row(name: str, p50_ms: float | None, top1: float, *, spread: float = 0.01, **changes: Any) -> ShortlistRow:
    """A network measured at 224 px; its interval and 90th percentile are `spread` and twice `spread` away."""
    measured = p50_ms is not None
    row = {
        "name": f"{name}.in1k",
        "title": name,
        "resolution": [224, 224],
        "p50_ms": p50_ms,
        "interval_ms": [p50_ms * (1 - spread), p50_ms * (1 + spread)] if measured else None,
        "p90_ms": p50_ms * (1 + 2 * spread) if measured else None,
        "top1": top1,
        "top1_resolution": 224,
        "top1_source": "made up",
        "license": "apache-2.0",
        "more_data": None,
        "num_params": 1_000_000,
        "macs": None,
        "deploy_form": "as in timm",
        "disturbed_percent": 0.0,
        "calm": True,
        "settled": True,
        "problem": None if measured else "it cannot be built",
        "samples_ms": [p50_ms] if measured else None,
    }
    return cast(ShortlistRow, row | changes)


def made_record(rows: list[ShortlistRow], *, machine: dict[str, Any], runtime: dict[str, Any], **changes: Any):
    """A shortlist of these rows on a device; each network at its own input size unless `resolution` is given."""
    record = {
        "format": 1,
        "device": "local",
        "runtime": runtime,
        "threads": 1,
        "clock": "cpu",
        "rounds": 20,
        "resolution": None,
        "networks": rows,
        "front": [],
        "budgets": [],
        "sources": {},
        "seconds": 1.0,
        "provenance": {"machine": machine, "versions": {}, "time": "2026-11-29T10:00:00+00:00"},
    }
    return cast(ShortlistRecord, record | changes)
