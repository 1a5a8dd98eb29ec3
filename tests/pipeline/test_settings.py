import pytest

from efficientformer.arch.spaces import SPACES
from efficientformer.errors import UsageError
from efficientformer.latency.runtime import ACCELERATORS, RUNTIME_NAMES
from efficientformer.pipeline.run.resolve_settings import merge_given, preset_names, read_yaml, resolve_settings
from efficientformer.pipeline.run.settings import BELOW_PARENT


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_valid(preset):
    settings = resolve_settings({"preset": preset})
    assert settings.preset == preset
    assert settings.space in (*SPACES, BELOW_PARENT)


def test_a_folder_of_images_takes_the_standard_preset_and_the_sample_the_quick_one():
    assert resolve_settings({}).preset == "quick"
    assert resolve_settings({"data": "photos"}).preset == "standard"
    assert resolve_settings({"data": "photos", "preset": "quick"}).resolution == 64


def test_later_layers_win_value_by_value():
    given = merge_given({"train": {"epochs": 3, "lr": 0.1}, "seed": 1}, {"train": {"epochs": 5}})
    settings = resolve_settings(given)
    assert (settings.train.epochs, settings.train.lr, settings.seed) == (5, 0.1, 1)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"trian": {}}, "trian"),
        ({"train": {"epoch": 3}}, "train.epoch"),
        ({"train": {"epochs": 0}}, "train.epochs"),
        ({"seed": "x"}, "seed"),
        ({"preset": "huge"}, "preset"),
    ],
)
def test_wrong_settings_are_named(given, name):
    with pytest.raises(UsageError, match=name):
        resolve_settings(given)


def test_the_clock_follows_the_threads():
    assert resolve_settings({}).latency_clock == "cpu"
    assert resolve_settings({"threads": 2}).latency_clock == "wall"
    assert resolve_settings({"clock": "wall"}).latency_clock == "wall"


def test_every_runtime_can_be_chosen_and_accelerators_take_the_wall_clock():
    for name in RUNTIME_NAMES:
        assert resolve_settings({"runtime": name}).latency_clock == ("wall" if name in ACCELERATORS else "cpu")
    for given in ({"clock": "cpu"}, {"threads": 2}):
        with pytest.raises(UsageError, match="clock 'wall' and one thread"):
            resolve_settings({"runtime": "cuda", **given})


def test_yaml_files_are_read_and_refused(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("train:\n  epochs: 7\n")
    assert read_yaml(path) == {"train": {"epochs": 7}}
    path.write_text("- 1")
    with pytest.raises(UsageError, match="names and values"):
        read_yaml(path)
    path.write_text("a: [")
    with pytest.raises(UsageError, match="not readable YAML"):
        read_yaml(path)
    with pytest.raises(UsageError, match="does not exist"):
        read_yaml(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    "given",
    [
        {"supernet": {"sampling": "single", "noise": "none"}},
        {"train": {"lr": float("inf")}},
        {"train": {"label_smoothing": 1.5}},
        {"train": {"batch_size": 1}},
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_runs(given):
    with pytest.raises(UsageError):
        resolve_settings(given)
