"""Where a run lives and where its settings come from: flags, YAML, its memory, and what the verb begins with."""

import pytest

from efficientformer.errors import UsageError
from efficientformer.pipeline.run.open_run import RunRequest, open_run
from efficientformer.pipeline.run.settings import Settings


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def config(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.yaml"
    path.write_text(f"data: {photos}\ntrain: {{epochs: 3}}\n")
    return path


def test_the_base_is_below_everything_and_the_data_of_a_config_names_the_run(config, photos):
    base = {"preset": "fine_tune", "train": {"epochs": 7, "lr": 1e-4}}
    flags = Settings.model_validate({"train": {"lr": 2e-4}})
    with open_run(RunRequest(flags, config=config, base=base, suffix="-tuned")) as workspace:
        assert workspace.run_dir.root.name == f"{photos.name}-tuned"
        settings = workspace.settings
    assert settings.preset == "fine_tune" and settings.resolution == 224
    assert settings.train.epochs == 3 and settings.train.lr == pytest.approx(2e-4)


def test_a_run_goes_on_with_what_it_was_told(config, tmp_path):
    with open_run(RunRequest(Settings.model_validate({"seed": 4}), tmp_path / "run", config)):
        pass
    with open_run(RunRequest(run_dir=tmp_path / "run", base={"seed": 9})) as workspace:
        assert workspace.settings.seed == 4 and workspace.settings.train.epochs == 3


def test_a_default_run_directory_of_other_images_is_not_taken(config, photos, tmp_path):
    with open_run(RunRequest(config=config)):
        pass
    elsewhere = tmp_path / "elsewhere" / photos.name
    elsewhere.mkdir(parents=True)
    with (
        pytest.raises(UsageError, match="Choose another --run-dir"),
        open_run(RunRequest(Settings(data=str(elsewhere)))),
    ):
        pass
