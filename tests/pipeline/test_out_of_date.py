"""What is said of records that are out of date, and of those that came from elsewhere. The work is made up."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from efficientformer.errors import EfficientFormerError, UsageError
from efficientformer.pipeline.benchmark import benchmark
from efficientformer.pipeline.out_of_date import out_of_date, out_of_date_file
from efficientformer.pipeline.phases import slim, supernet
from efficientformer.pipeline.run.plan import EXPORT, SUPERNET, TABLE, TRAIN
from efficientformer.pipeline.run.stamps import read_stamp
from efficientformer.pipeline.tables import combine
from efficientformer.records import write_record

from .made_run import Run, again, deleted, edited, interrupted, other_machine, replace_images

# The report and `predict` show records that are out of date, and say so.


@pytest.mark.parametrize(
    "change, verbs",
    [
        (lambda run: None, []),
        (again(SUPERNET), ["slim", "baselines", "rank", "train", "evaluate", "export", "verify"]),
        (again(TRAIN), ["evaluate", "export", "verify"]),
        (again(EXPORT), ["verify"]),
        (edited("slim/baselines.json"), ["baselines"]),
        (interrupted(TRAIN), ["train", "evaluate", "export", "verify"]),
        (other_machine, []),
    ],
)
def test_records_out_of_date_are_listed_with_the_verbs_that_make_them_again(run, change, verbs):
    change(run)
    assert [row.verb for row in out_of_date(run.dir.root)] == verbs


@pytest.mark.parametrize("outputs", [[], "text", {"table.json": 1}])
def test_a_stamp_with_outputs_of_another_shape_is_no_stamp(run, outputs):
    path = run.dir.stamp("table")
    write_record(path, {**read_stamp(path), "outputs": outputs})
    assert [row.verb for row in out_of_date(run.dir.root)][:2] == ["table", "slim"]


def test_images_that_a_verb_found_replaced_are_listed_too(run, stub):
    replace_images(run)
    with pytest.raises(UsageError):
        slim.run(run.workspace())
    rows = out_of_date(run.dir.root)
    assert [row.verb for row in rows] == [
        "supernet",
        "slim",
        "baselines",
        "rank",
        "train",
        "evaluate",
        "export",
        "verify",
    ]
    assert "the images changed" in rows[0].text and "it follows from" in rows[-1].text


def test_a_report_names_what_is_out_of_date(run, capsys):
    from efficientformer.pipeline.verbs import report

    assert "out of date" not in report(run.dir.root).read_text(encoding="utf-8")
    again(TRAIN)(run)
    page = report(run.dir.root).read_text(encoding="utf-8")
    assert "evaluation.json is out of date" in page and "efficientformer evaluate --run-dir" in page
    assert "evaluation.json is out of date" in capsys.readouterr().err


def test_an_exported_file_older_than_its_weights_is_named(run, tmp_path):
    path = run.dir.network("60pct").onnx
    assert out_of_date_file(path) == [] == out_of_date_file(tmp_path / "model.onnx")
    again(TRAIN)(run)
    assert [row.verb for row in out_of_date_file(path)] == ["evaluate", "export"]


def test_a_comparison_names_files_of_runs_that_are_out_of_date(run, tmp_path, capsys):
    again(TRAIN)(run)
    with pytest.raises(EfficientFormerError):  # the made-up file is no network
        benchmark(str(run.dir.root), out=tmp_path / "out")
    assert "evaluation.json is out of date" in capsys.readouterr().err


# The supernet of another run.


def test_a_supernet_taken_over_is_out_of_date_once_the_other_is_trained_again(run, stub, tmp_path, images):
    second = Run(tmp_path / "second", images, supernet_from=str(run.dir.root))
    second.finish(TABLE)
    supernet.run(second.workspace())
    weights = second.dir.supernet_weights
    assert weights.read_bytes() == run.dir.supernet_weights.read_bytes()
    assert SUPERNET.problem(second.workspace()) is None
    again(SUPERNET)(run)
    with pytest.raises(UsageError, match=r"the supernet of .*/run changed\). Run 'efficientformer supernet "):
        slim.run(second.workspace())
    supernet.run(second.workspace())
    assert weights.read_bytes() == run.dir.supernet_weights.read_bytes()
    shutil.rmtree(run.dir.root)
    assert SUPERNET.problem(second.workspace()) is None, "a copy does not need the other run any more"


def test_a_supernet_that_is_no_longer_taken_over_is_out_of_date(run, stub, tmp_path, images):
    second = Run(tmp_path / "second", images, supernet_from=str(run.dir.root))
    second.finish(TABLE)
    supernet.run(second.workspace())
    second.given["supernet_from"] = None
    with pytest.raises(UsageError, match=r"the supernet of .*/run is no longer used\). Run 'efficientformer supernet "):
        slim.run(second.workspace())
    assert [row.verb for row in out_of_date(second.dir.root)] == []  # what the run remembers is as it was
    second.finish(SUPERNET, text="trained here")
    assert "trained here" in second.dir.supernet_record.read_text()
    assert SUPERNET.problem(second.workspace()) is None
    second.given["supernet_from"] = str(run.dir.root)
    assert "changed" in str(SUPERNET.problem(second.workspace()))


@pytest.mark.parametrize(
    "change, message",
    [
        (edited("supernet/weights.safetensors"), "was changed or replaced since it was made"),
        (deleted("supernet/record.json"), "has no trained supernet"),
        (interrupted(SUPERNET), "has no trained supernet"),
    ],
)
def test_a_supernet_that_is_not_whole_is_not_taken_over(run, stub, tmp_path, images, change, message):
    second = Run(tmp_path / "second", images, supernet_from=str(run.dir.root))
    second.finish(TABLE)
    change(run)
    with pytest.raises(UsageError, match=message):
        supernet.run(second.workspace())
    assert not second.dir.supernet_weights.exists()


def test_a_merged_table_counts_as_the_runs_own_and_one_of_another_resolution_does_not(run, monkeypatch):
    def table(resolution: int) -> Any:
        def save(path: Path) -> None:
            write_record(path, {"note": "merged"})

        return SimpleNamespace(space=run.workspace().space, resolution=resolution, num_classes=2, save=save)

    monkeypatch.setattr(combine, "load_table", lambda _: None)
    for resolution, problem in ((16, None), (32, "changed or replaced")):
        monkeypatch.setattr(combine, "merge_tables", lambda *_, resolution=resolution: table(resolution))
        TABLE.forget(run.workspace())
        run.finish(TABLE)
        combine.merge(["a.json", "b.json"], run.dir.root)
        found = TABLE.problem(run.workspace())
        assert found is None if problem is None else problem in str(found)
