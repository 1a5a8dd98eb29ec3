"""A run directory with every record of the pipeline, made from real architectures and an invented but plausible device.

Names that came from users (classes, files, settings) are hostile on purpose.
"""

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from efficientformer.arch.cost import network_cost, part_cost
from efficientformer.arch.moves import Contract, Drop, Narrow, Swap
from efficientformer.arch.parts import Part, block_parts, network_parts, stage_grids
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spaces import v1_space, v2_space
from efficientformer.arch.spec import MB3D, Architecture
from efficientformer.errors import ArchitectureError
from efficientformer.records import append_line, write_record, write_text

HOSTILE = "<script>alert(1)</script>"
CLASSES = (
    "apple",
    HOSTILE,
    "Käfer",
    "手紙",
    "</script><img src=x onerror=alert(2)>",
    "\"quoted\" & 'single'",
    "{{ 7 * 7 }}",
    "a name so long that no axis and no table on a telephone could ever hope to show all of it",
    "חתול",
    "apple",
)
# Fixed here, so that the presets can change without changing what these tests expect.
MB3D_BLOCK = MB3D(num_heads=4, key_dim=16, value_ratio=2)
SPACE = v1_space("report", (32, 48, 96, 128), (2, 2, 4, 3), 7, stem_strides=(2, 1), mb3d=MB3D_BLOCK)
V2_SPACE = v2_space("report-v2", SPACE.max_widths, SPACE.max_depths, stem_strides=(2, 1))


class RunWriter:
    """Writes the records of one run; `classes` and `space` may be replaced for larger ones."""

    def __init__(self, folder: Path, space: SearchSpace, classes: Sequence[str], resolution: int, num_steps: int):
        self.folder, self.space, self.classes, self.resolution = folder, space, list(classes), resolution
        self.num_steps = num_steps
        self.macs_per_ms = 2.4e7 if resolution < 100 else 4e8
        self.rng = random.Random(7)
        self.full_ms = self.latency_ms(space.largest())
        self.budgets = ("60%", "40%", f"{0.262 * self.full_ms:.1f}ms")

    def latency_ms(self, architecture: Architecture) -> float:
        return sum(map(self.part_ms, network_parts(architecture, self.resolution, len(self.classes))))

    def part_ms(self, part: Any) -> float:
        return 0.012 + (0.06 if part.kind == "MB3D" else 0.02) + part_cost(part).macs / self.macs_per_ms

    def near(self, value: float, spread: float = 0.015) -> float:
        return value * self.rng.gauss(1, spread)

    def interval(self, value: float, spread: float = 0.012) -> list[float]:
        return [value * (1 - spread), value * (1 + spread)]

    def provenance(self, verb: str) -> dict[str, Any]:
        return {
            "machine": {
                "cpu": "Example Silicon 9 <b>X</b> @ 3.2 GHz",
                "cores": 8,
                "memory_gib": 31.2,
                "os": "Linux 6.6",
                "python": "3.11.7",
            },
            "versions": {
                "efficientformer": "0.1.0",
                "torch": "2.14.1",
                "onnxruntime": "1.23.2" if verb != "table" else "1.23.1",
            },
            "time": "2026-11-22T14:05:09+00:00",
            "load": 0.41,
            "command": f"efficientformer {verb} --run-dir runs/'fruit & co' --data photos",
        }

    def write(self) -> Path:
        self.write_inputs()
        self.write_table()
        self.write_supernet()
        rows = self.write_slim()
        promises = [self.write_network(index, row) for index, row in enumerate(rows)]
        self.write_result(promises)
        return self.folder

    def write_inputs(self) -> None:
        settings = {
            "preset": "quick",
            "data": HOSTILE,
            "resolution": self.resolution,
            "budgets": list(self.budgets),
            "training": {"epochs": 30, "lr": 0.001, "augmentation": "light"},
        }
        write_record(self.folder / "settings.json", {"given": {"data": HOSTILE}, **settings})
        train = [self.rng.randint(60, 120) for _ in self.classes]
        val = [self.rng.randint(20, 30) for _ in self.classes]
        record = {
            "name": f"fruit & {HOSTILE}",
            "classes": self.classes,
            "train": {"num_images": sum(train), "per_class": train},
            "val": {"num_images": sum(val), "per_class": val},
            "skipped": [
                {"file": "apple/empty.jpg", "reason": "not an image: 0 bytes"},
                {"file": '<img src=x onerror="alert(3)">.png', "reason": "cannot identify image file"},
            ],
            "preprocessing": {
                "resolution": self.resolution,
                "mean": [0.5] * 3,
                "std": [0.25] * 3,
                "crop_ratio": 0.95,
            },
            "digest": "0" * 64,
            "split_rule": "the folders train and val",
            "provenance": self.provenance("design"),
        }
        write_record(self.folder / "data.json", record)

    def write_table(self) -> None:
        space, entries = self.space, {}
        for index, grid in enumerate(stage_grids(space.stem_strides, self.resolution)):
            for block in space.stages[index].blocks[::-1]:
                for part in (part for width in space.widths(index) for part in block_parts(block, grid, width)):
                    value = self.near(self.part_ms(part), 0.02)
                    entries[part.key] = self.entry(part, value, 0.05)
        for part in network_parts(space.largest(), self.resolution, len(self.classes)):
            value = self.part_ms(part)
            entries.setdefault(part.key, self.entry(part, value, 0.012))
        networks = []
        for index in range(18):
            architecture = space.random(self.rng)
            predicted = self.latency_ms(architecture)
            measured = self.near(predicted, 0.02)
            networks.append(
                {
                    "architecture": architecture.to_json(),
                    "measured_ms": measured,
                    "interval_ms": self.interval(measured),
                    "predicted_ms": predicted,
                    "held_out": index >= 8,
                }
            )
        errors = [abs(1 - row["predicted_ms"] / row["measured_ms"]) * 100 for row in networks if row["held_out"]]
        record = {
            "format": 6,
            "space": space.to_json(),
            "resolution": self.resolution,
            "num_classes": len(self.classes),
            "runtime": {"name": "onnxruntime", "version": "1.23.1", "compute_unit": "CPU", "options": {}},
            "threads": 1,
            "clock": "cpu",
            "entries": entries,
            "scale": 1.031,
            "offset_ms": 0.012,
            "cache_mib": 0.0,
            "ms_per_mib": 0.0,
            "history": [],
            "spread": {"log_half_width": 0.043, "fastest_ms": 0.2, "slowest_ms": 2.0},
            "interpolation": {
                kind: {"mean_ms": 0.004, "max_ms": 0.01, "noise_ms": noise, "latency_ms": 0.1, "num_knots": 6}
                for kind, noise in (("MB4D", 0.002), ("flatten", 0.09))
            },
            "steps": [
                {"family": "MB4D@8x8,mlp_ratio=4", "narrow": 32, "wide": 48, "narrow_ms": 0.09, "wide_ms": 0.091}
            ],
            "largest": self.extreme(space.largest()),
            "smallest": self.extreme(space.smallest()),
            "networks": networks,
            "error": {
                "mean_percent": sum(errors) / len(errors),
                "max_percent": max(errors),
                "kendall_tau": 0.956,
                "num_networks": len(errors),
            },
            "provenance": self.provenance("table"),
        }
        write_record(self.folder / "table.json", record)

    def entry(self, part: Part, value: float, spread: float) -> dict[str, Any]:
        measured = {"latency_ms": value, "interval_ms": self.interval(value, spread), "samples": 120}
        return {"part": part.to_json(), **measured, "chains_mib": []}

    def extreme(self, architecture: Architecture) -> dict[str, Any]:
        value = self.latency_ms(architecture)
        measured = {"p50_ms": 1.01 * value, "interval_ms": self.interval(1.01 * value)}
        return {"architecture": architecture.to_json(), "predicted_ms": value, **measured}

    def write_supernet(self) -> None:
        self.write_curve(self.folder / "supernet" / "metrics.jsonl", 2.6, "temperature")
        alphas = []
        for index, depth in enumerate(self.space.max_depths):
            blocks = []
            for block in range(depth):
                idle = min(0.9, max(0.03, self.rng.gauss(0.15 + 0.2 * block / depth, 0.12)))
                tokens = (1 - idle) * self.rng.uniform(0.2, 0.8) if index > 1 else 0.0
                attending, *_, plain = (block.kind for block in (self.space.stages[index].blocks * 2))
                paths = {plain: 1 - idle - tokens, "identity": idle}
                blocks.append({**paths, attending: tokens} if index > 1 else paths)
            alphas.append(blocks)
        record = {"epochs": 40, "num_steps": self.num_steps, "alphas": alphas, "held_out_top1": 91.4}
        settings = {"lr": 0.002}
        write_record(
            self.folder / "supernet" / "record.json",
            {**record, "settings": settings, "provenance": self.provenance("supernet")},
        )

    def write_slim(self) -> list[dict[str, Any]]:
        """Slim greedily on the invented device, with an invented accuracy that falls faster and faster."""
        architecture = self.space.largest()
        start = {**subnet(architecture), "latency_ms": self.full_ms, "accuracy": 71.4, "top1": 91.4}
        steps: list[dict[str, Any]] = []
        budgets: list[dict[str, Any]] = []
        while len(budgets) < len(self.budgets):
            step, architecture = self.slim_step(len(steps) + 1, architecture)
            steps.append(step)
            for name in self.budgets:
                number = float(name.rstrip("%ms"))
                budget_ms = number if name.endswith("ms") else number / 100 * self.full_ms
                if step["latency_ms"] <= budget_ms and all(row["budget"] != name for row in budgets):
                    row = {"budget": name, "budget_ms": budget_ms, "target_ms": 0.98 * budget_ms, "step": step["step"]}
                    slug = name.replace("%", "pct")
                    unit = "ms" if name.endswith("ms") else "%"
                    value = {"budget_value": {"text": name, "value": number, "unit": unit}}
                    score = {"accuracy": step["accuracy"]}
                    shape = {**subnet(architecture), **score, **value, "slug": slug}
                    polish = [{**shape, "latency_ms": 1.02 * step["latency_ms"], "accuracy": step["accuracy"] + 0.7}]
                    polish = polish if name == "40%" else []
                    trial = {**shape, "latency_ms": step["latency_ms"], "trial_top1": 61.5}
                    rival = {**trial, "latency_ms": 0.97 * step["latency_ms"], "trial_top1": 62.5}
                    trials = [trial, rival] if name == "40%" else [rival, trial]
                    found = {"predicted_ms": step["latency_ms"], "polish": polish, "trials": trials}
                    budgets.append({**row, **found, **shape})
        corrections = [
            {"budget": "40%", "step": 9, "measured_ms": 2.02, "limit_ms": 2.0, "predicted_ms": 1.95, "scale": 1.036}
        ]
        record = {
            "metric": "likelihood",
            "start": start,
            "steps": steps,
            "budgets": budgets,
            "corrections": corrections,
        }
        provenance = self.provenance("slim")
        write_record(self.folder / "slim" / "trace.json", {**record, "num_evaluations": 431, "provenance": provenance})
        return budgets

    def slim_step(self, number: int, architecture: Architecture) -> tuple[dict[str, Any], Architecture]:
        latency = self.latency_ms(architecture)
        weighed: list[tuple[dict[str, Any], Architecture]] = []
        for action, stage, block, into, edit in self.actions(architecture):
            try:
                smaller = edit()
            except ArchitectureError:
                continue
            saved = latency - self.latency_ms(smaller)
            drop = max(-0.1, self.rng.gauss(0.3, 0.25)) * (1 - latency / self.full_ms + 0.15) * 2.2
            row = {"action": action, "stage": stage, "block": block, "latency_ms": latency - saved, "saved_ms": saved}
            row |= {
                "further": [],
                "text": f"{action} {stage}",
                **dict.fromkeys(("wider", "into", "below", "last_score")),
                "into": into,
            }
            score = drop / saved if saved > 0 else None
            accuracy = self.accuracy(latency - saved) - 20
            weighed.append(({**row, "accuracy": accuracy, "drop": drop, "score": score}, smaller))
        candidates = [row for row, _ in weighed]
        scores = [math.inf if row["score"] is None else row["score"] for row in candidates]
        taken = scores.index(min(scores))
        chosen = candidates[taken]
        point = {**{name: chosen[name] for name in ("latency_ms", "accuracy")}, "top1": chosen["accuracy"] + 20}
        shape = weighed[taken][1]
        return {
            "step": number,
            "candidates": candidates,
            "taken": taken,
            **subnet(shape),
            **point,
        }, shape

    def actions(self, architecture: Architecture) -> list[Any]:
        """Name, stage, block, what it becomes, and the edit."""
        stage = self.rng.choice([index for index, s in enumerate(architecture.stages) if s.depth > 1] or [0])
        block = self.rng.randrange(architecture.stages[stage].depth)
        shrinks = list(self.space.shrinks(architecture))
        swap = next((move for move in shrinks if isinstance(move, Swap)), Drop(3, 0))
        into = swap.into.kind if isinstance(swap, Swap) else None
        contracts = [move for move in shrinks if isinstance(move, Contract)]
        contract = self.rng.choice(contracts) if contracts else None
        wide = max(range(4), key=lambda i: (architecture.stages[i].width / self.space.max_widths[i], self.rng.random()))
        return [
            ("identity", stage + 1, block + 1, None, lambda: Drop(stage, block).apply(architecture)),
            ("swap", swap.stage + 1, swap.block + 1, into, lambda: swap.apply(architecture)),
            ("narrow", wide + 1, None, None, lambda: Narrow(wide, 16).apply(architecture)),
            *(
                [("contract", move.stage + 1, move.block + 1, str(move.mlp_ratio), lambda: move.apply(architecture))]
                if (move := contract)
                else []
            ),
        ]

    def accuracy(self, latency_ms: float) -> float:
        share = latency_ms / self.full_ms
        return 91.4 - 3.2 * (1 - share) ** 2 / (share + 0.15) + self.rng.gauss(0, 0.25)

    def write_network(self, index: int, budget: dict[str, Any]) -> dict[str, Any]:
        folder = self.folder / "networks" / budget["slug"]
        architecture = Architecture.from_json(budget["architecture"])
        described = {"resolution": self.resolution, "num_classes": len(self.classes), "classes": self.classes}
        write_record(folder / "architecture.json", {"architecture": budget["architecture"], **described})
        top1 = 94.1 - 1.6 * index
        self.write_curve(folder / "metrics.jsonl", 2.2, None, top1)
        trained = {"epochs": 30, "num_steps": self.num_steps, "init": "supernet", "seconds": 640 - 140 * index}
        write_record(folder / "train.json", {**trained, "provenance": self.provenance("train")})
        evaluation = self.evaluation(top1 / 100)
        write_record(folder / "evaluation.json", evaluation)
        write_text(folder / "model.onnx", "weights")
        forms = {"pooling": "products", "projections": "joined"}
        export = {"file": "model.onnx", "bytes": 5_240_000 - 1_400_000 * index, "max_abs_difference": 2.1e-6}
        write_record(
            folder / "export.json",
            {**export, "tolerance": 1e-4, "metadata": {"budget": budget["budget"]}, "forms": forms},
        )
        measured = budget["budget_ms"] * (0.965, 0.991, 1.012)[index % 3]
        cost = network_cost(architecture, self.resolution, len(self.classes))
        promise = {k: budget[k] for k in ("budget", "slug", "budget_ms", "predicted_ms")}
        return {
            **promise,
            "measured_p50_ms": measured,
            "measured_ms": measured,
            "percentile": "p50",
            "limits": {},
            "measured_interval_ms": self.interval(measured, 0.008),
            "kept": 1.008 * measured <= budget["budget_ms"],
            "top1": evaluation["top1"],
            "num_params": cost.num_params,
            "macs": cost.macs,
            "architecture": budget["architecture"],
            "onnx": f"networks/{budget['slug']}/model.onnx",
        }

    def evaluation(self, share: float) -> dict[str, Any]:
        size = len(self.classes)
        confusion = [[0] * size for _ in range(size)]
        for truth in range(size):
            hard = min(0.99, max(0.3, self.rng.gauss(share, 0.05)))
            for _ in range(25):
                guess = truth if self.rng.random() < hard else self.rng.randrange(size)
                confusion[truth][guess] += 1
        right = sum(confusion[place][place] for place in range(size))
        per_class = [
            {"name": name, "top1": 4 * confusion[place][place], "num_images": 25}
            for place, name in enumerate(self.classes)
        ]
        totals = {"top1": 4 * right / size, "top5": min(100, 4 * right / size + 4.3), "num_images": 25 * size}
        return {**totals, "per_class": per_class, "confusion": confusion}

    def write_curve(self, path: Path, loss: float, extra: str | None, top1: float | None = None) -> None:
        per_epoch = max(1, self.num_steps // 30)
        lines = []
        for step in range(0, self.num_steps, 10):
            done = step / self.num_steps
            value = 0.25 + loss * math.exp(-4 * done) + abs(self.rng.gauss(0, 0.06))
            line = {"step": step, "epoch": step / per_epoch, "loss": value, "lr": 0.001 * (1 - done)}
            lines.append({**line, extra: 5 - 4 * done} if extra else line)
            if top1 is not None and step % per_epoch < 10:
                score = top1 - (top1 - 12) * math.exp(-5 * done) + self.rng.gauss(0, 0.8)
                lines.append({"step": step, "epoch": step / per_epoch, "val_top1": min(99.5, score)})
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines[:-1]))
        append_line(path, lines[-1])

    def write_result(self, promises: list[dict[str, Any]]) -> None:
        largest = {"p50_ms": 1.01 * self.full_ms, "interval_ms": self.interval(1.01 * self.full_ms)}
        runtime = {"name": "onnxruntime", "version": "1.23.2", "compute_unit": "CPU", "options": {}, "threads": 1}
        record = {"clock": "cpu", "runtime": runtime, "largest": largest, "rounds": 200}
        rows = [{name: row[name] for name in row if name not in ("top1", "macs", "onnx")} for row in promises]
        write_record(
            self.folder / "verification.json", {**record, "promises": rows, "provenance": self.provenance("design")}
        )
        write_record(self.folder / "result.json", promises)


def subnet(architecture: Architecture) -> dict[str, Any]:
    return {"architecture": architecture.to_json(), "origins": [list(range(depth)) for depth in architecture.depths]}


def write_run(
    folder: Path,
    space: SearchSpace = SPACE,
    classes: Sequence[str] = CLASSES,
    resolution: int = 64,
    num_steps: int = 3000,
) -> Path:
    return RunWriter(folder, space, classes, resolution, num_steps).write()
