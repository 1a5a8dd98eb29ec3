"""Sections with the evidence: path probabilities, latency table, training, data, machine."""

import shlex
from pathlib import Path
from typing import Any

from efficientformer.report import wording
from efficientformer.report.frame import Note
from efficientformer.report.run import heatmaps, latency_figures, training_figures
from efficientformer.report.run.load import NETWORK_RECORDS, RECORDS, Run
from efficientformer.report.run.slimming_figures import network_title

Content = dict[str, Any]
MAX_SKIPPED = 200
SHORT_LIST = 20  # longer lists of classes are collapsed


def supernet(run: Run) -> Content:
    record = run.get("supernet")
    if record is None:
        return {"notes": [run.note("supernet")]}
    paths = record.get("alphas")  # a supernet of V2's blocks has none
    figure = None if paths is None else heatmaps.alphas(paths)
    # Of a file its name: a page is sent to others, and the place of the file means nothing to them.
    parent = Path(record["parent"]["init"]).name if "parent" in record else None
    primary = run.task.primary
    scores = {"held_out": record[f"held_out_{primary}"], "of_parent": record.get("parent", {}).get(primary)}
    shown = {"figure": figure, "record": record, "parent": parent, **scores, "title": run.task.title}
    return {**shown, "rank": run.get("rank"), "notes": []}


def latency_table(run: Run) -> Content:
    table = run.get("table")
    if table is None:
        return {"notes": [run.note("table")]}
    return {
        "table": table,
        "runtime": wording.runtime(table.get("runtime"), table.get("threads")),
        "calibration": wording.calibration(table),
        "networks": latency_figures.network_errors(table),
        "blocks": latency_figures.block_latencies(table),
        "block_legend": latency_figures.block_legend(table),
        "interval_percent": wording.ratio_percent((table.get("spread") or {}).get("log_half_width")),
        "interpolation": latency_figures.interpolation_rows(table),
        "steps": [wording.step(step) for step in table.get("steps") or []],
        "notes": [],
    }


def training(run: Run) -> Content:
    """Curves of supernet and networks, and one row per network."""
    rows, val = [], f"val_{run.task.primary}"
    for index, network in enumerate(run.networks):
        losses = [line["loss"] for line in network.metrics if "loss" in line]
        scores = [line[val] for line in network.metrics if val in line]
        values = {"loss": losses[-1] if losses else None, "val_score": scores[-1] if scores else None}
        record = network.get("train") or {}
        rows.append({"title": network_title(network), "series": index, **values, "record": record})
    notes = [] if run.get("supernet") or run.is_training else [run.note("supernet")]
    notes += run.network_notes("train")
    notes += [Note(text, run.command("train")) for path, text in run.unreadable.items() if path.endswith(".jsonl")]
    return {
        "supernet": training_figures.supernet_curve(run.supernet_metrics),
        "supernet_record": run.get("supernet"),
        "supernet_loss": next((row["loss"] for row in reversed(run.supernet_metrics) if "loss" in row), None),
        "loss": training_figures.network_curve(run.networks, "loss", "training loss"),
        "val_score": training_figures.network_curve(run.networks, val, f"validation {run.task.title} (%)"),
        "task": run.task,
        "rows": rows,
        "notes": notes,
    }


def data(run: Run) -> Content:
    record = run.get("data")
    if record is None:
        return {"notes": [run.note("data")]}
    rows = [
        {"name": name, "train": train, "val": val}
        for name, train, val in zip(
            record["classes"], record["train"]["per_class"], record["val"]["per_class"], strict=True
        )
    ]
    skipped = record.get("skipped") or []
    return {
        "record": record,
        "rows": rows,
        "largest": max((max(row["train"], row["val"]) for row in rows), default=1) or 1,
        "is_short": len(rows) <= SHORT_LIST,
        "skipped": skipped[:MAX_SKIPPED],
        "num_skipped": len(skipped),
        "notes": [],
    }


def machine(run: Run) -> Content:
    """Machine, versions, settings and commands that the records were made with, and what differs between them."""
    made = _provenances(run)
    notes = [] if run.get("settings") else [run.note("settings")]
    return {
        "rows": [{"record": path, **_where(provenance)} for path, provenance in made],
        "machines": _facts([(path, provenance.get("machine") or {}) for path, provenance in made]),
        "versions": _facts([(path, provenance.get("versions") or {}) for path, provenance in made]),
        "settings": [row for row in wording.flat(run.get("settings") or {}) if not row[0].startswith("programs.")],
        "commands": list(dict.fromkeys(filter(None, (_command(provenance) for _, provenance in made)))),
        "notes": notes,
    }


def _provenances(run: Run) -> list[tuple[str, Content]]:
    found = [(kind.path, run.get(name)) for name, kind in RECORDS.items()]
    for network in run.networks:
        found += [(f"networks/{network.slug}/{k.path}", network.get(name)) for name, k in NETWORK_RECORDS.items()]
    return [(path, rec["provenance"]) for path, rec in found if isinstance(rec, dict) and rec.get("provenance")]


def _where(provenance: Content) -> Content:
    load = provenance.get("load")
    loads = load if isinstance(load, list) else [] if load is None else [load]
    return {
        "time": str(provenance.get("time") or wording.ABSENT)[:16].replace("T", " "),
        "load": " ".join(f"{value:.2f}" if isinstance(value, float) else str(value) for value in loads),
        "command": _command(provenance),
    }


def _command(provenance: Content) -> str:
    command = provenance.get("command") or ""
    return shlex.join(map(str, command)) if isinstance(command, list) else str(command)


def _facts(described: list[tuple[str, Content]]) -> list[Content]:
    """Every fact once; if records differ, each value with its records or their number."""
    values: dict[str, dict[str, list[str]]] = {}
    for path, facts in described:
        for name, value in facts.items():
            values.setdefault(str(name), {}).setdefault(str(value), []).append(path)
    return [
        {
            "name": wording.FACTS.get(name, name),
            "values": [(value, _source(paths) if len(by_value) > 1 else "") for value, paths in by_value.items()],
        }
        for name, by_value in values.items()
    ]


def _source(paths: list[str]) -> str:
    return ", ".join(paths) if len(paths) <= 2 else f"{len(paths)} records"
