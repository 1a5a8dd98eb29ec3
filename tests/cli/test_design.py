"""The table that `design` ends with."""

from typing import Any

from efficientformer.cli.design import _print_summary


def entry(budget: str, top1: float, **more: Any) -> dict[str, Any]:
    figures = {"budget_ms": 8.0, "predicted_ms": 7.5, "measured_ms": 7.4, "measured_interval_ms": [7.3, 7.5]}
    row = {"budget": budget, **figures, "interval_percent": 95.0, "kept": True, "top1": top1}
    return {**row, "num_params": 5e6, "macs": 9e8, "onnx": f"run/networks/{budget}/model.onnx", **more}


def test_a_reference_has_a_row_beneath_its_budget_and_a_line(capsys):
    reference = {"name": "a_network_with_a_long_name.of_its_weights_in1k", "measured_ms": 6.2, "kept": False}
    reference |= {"measured_interval_ms": [6.1, 8.3], "interval_percent": 98.3, "top1": 91.5, "num_images": 50}
    reference |= {"num_params": 9.2e6, "macs": None}
    _print_summary([entry("8ms", 88.0, reference=reference), entry("4ms", 80.0, reference=None)])
    head, *rows = capsys.readouterr().out.splitlines()
    assert "measured [95 % or 98.3 %]" in " ".join(head.split())
    cells = [" ".join(row.split()) for row in rows]
    assert cells[0] == "8ms 8.000 7.500 7.400 [7.300, 7.500] yes 88.0% 5.00M 900M"
    assert cells[1] == f"{reference['name']} - 6.200 [6.100, 8.300] NO 91.5% 9.20M -"
    assert cells[2].startswith("4ms 8.000") and "is over the budget" in cells[3] and cells[3].startswith("8ms: ")
    assert cells[4] == "4ms: no published network was fine-tuned, since none fits"


def test_without_references_the_table_is_as_it_was(capsys):
    _print_summary([entry("8ms", 88.0)])
    out = capsys.readouterr().out
    assert "published" not in out and len(out.splitlines()) == 4
