import pytest

from efficientformer.analysis.hotspots.hotspots import DEFAULT_NETWORKS, hotspots, measure_hotspots
from efficientformer.errors import UsageError
from efficientformer.latency.profilers.profile import Operator, OperatorTime, Profile
from efficientformer.latency.runtimes.onnxruntime import OnnxRuntime

LARGEST = {
    "deit_small_patch16_224": ("mlp", "attention"),
    "poolformer_s24": ("mlp",),
    "levit_256": ("mlp", "attention"),
    "efficientformer_l1": ("mlp",),
    "mobilenetv2_140": ("convolution",),
    "resnet50": ("convolution",),
    "efficientnet_b0": ("convolution",),
}


class Elsewhere:
    name, threads = "onnxruntime", 1


def profile_of(*times: tuple[str, str, float], total_ms: float, is_shares: bool = False) -> Profile:
    written = tuple(Operator(kind, path) for kind, path, _ in times)
    operators = tuple(OperatorTime(op.kind, ms, (op,)) for op, (_, _, ms) in zip(written, times, strict=True))
    return Profile("a profiler", is_shares, total_ms, operators, written)


def test_classes_and_the_rest_add_up_to_the_total():
    row = hotspots(
        profile_of(("Conv", "stem", 1.0), ("Conv", "b/mlp/fc1", 2.0), ("Conv", "b/mlp/fc2", 3.0), total_ms=7.0)
    )
    assert row["classes"] == {"patch_embedding": 1.0, "mlp": 5.0}
    assert row["unassigned_ms"] == 1.0 and row["total_ms"] == 7.0 and row["num_operators"] == 3


def test_shares_leave_nothing_over():
    assert hotspots(profile_of(("Conv", "stem", 0.1), ("Relu", "stem", 0.2), total_ms=0.3, is_shares=True))[
        "unassigned_ms"
    ] == 0.0  # fmt: skip


def test_a_runtime_without_a_profiler_says_so():
    rows = measure_hotspots([Elsewhere()], resolution=32, names=["mobilenetv2_035"])
    assert rows[0]["source"].startswith("none")
    assert rows[0]["classes"] == {} and rows[0]["total_ms"] is None


def test_files_and_unknown_names_are_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(UsageError, match="an ONNX file, without modules"):
        measure_hotspots([], names=[str(tmp_path / "model.onnx")])
    with pytest.raises(UsageError, match="no network 'mobilenetv9'"):
        measure_hotspots([], names=["mobilenetv9"])


def test_progress_counts_pairs_of_network_and_runtime():
    seen = []
    measure_hotspots(
        [Elsewhere()], resolution=32, names=["mobilenetv2_035"], progress=lambda *report: seen.append(report)
    )
    assert seen == [(0, 1, "mobilenetv2_035 on onnxruntime"), (1, 1, "profiled")]


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFAULT_NETWORKS)
def test_operators_of_the_papers_networks_are_recognized(name):
    [row] = measure_hotspots([OnnxRuntime(1)], resolution=64, names=[name], rounds=1)
    assert row["title"] == DEFAULT_NETWORKS[name]
    assert row["classes"].get("other", 0.0) < 0.1 * row["total_ms"]
    assert max(row["classes"], key=row["classes"].get) in LARGEST[name]
    classes = set(row["classes"])
    assert {"patch_embedding", "head"} <= classes
    is_transformer = name in ("deit_small_patch16_224", "levit_256", "efficientformer_l1")
    assert ("attention" in classes) == is_transformer
