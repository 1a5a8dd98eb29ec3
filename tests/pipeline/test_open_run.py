"""Where a run lives and where its settings come from: flags, YAML, its memory, and what the verb begins with."""

import pytest

from efficientformer.arch.space_file import as_yaml
from efficientformer.arch.spaces import QUICK
from efficientformer.errors import UsageError
from efficientformer.pipeline.run.open_run import RunRequest, design_request, open_run
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


def test_a_run_keeps_a_copy_of_its_space_and_goes_on_when_the_file_is_gone(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(as_yaml(QUICK, with_name=False))
    with open_run(RunRequest(Settings(space="mine.yaml"), tmp_path / "run")) as workspace:
        assert workspace.space.name == "mine" and workspace.space.stages == QUICK.stages
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    (tmp_path / "mine.yaml").unlink()
    with open_run(RunRequest(run_dir=tmp_path / "run")) as workspace:
        assert workspace.space.name == "mine" and "is gone" in capsys.readouterr().err
    with open_run(RunRequest(Settings(supernet_from=str(tmp_path / "run")), tmp_path / "second")) as workspace:
        assert workspace.space.stages == QUICK.stages
    with open_run(RunRequest(run_dir=tmp_path / "second")) as workspace:
        assert workspace.space.stages == QUICK.stages
    with pytest.raises(UsageError, match="does not exist"), open_run(RunRequest(Settings(space="mine.yaml"))):
        pass
    assert not (tmp_path / "folder" / "runs" / "fashion-mnist-mini" / "settings.json").exists()


@pytest.mark.parametrize("option", ["config", "preset"])
def test_a_space_in_a_yaml_file_is_beside_that_file(tmp_path, option):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "space.yaml").write_text(as_yaml(QUICK, with_name=False))
    recipe = tmp_path / "recipes" / "recipe.yaml"
    recipe.write_text("space: space.yaml")
    settings, config = (Settings(preset=str(recipe)), None) if option == "preset" else (Settings(), recipe)
    with open_run(RunRequest(settings, tmp_path / "run", config)) as workspace:
        assert workspace.space.stages == QUICK.stages and workspace.space.name == "space"
    with open_run(RunRequest(run_dir=tmp_path / "run")) as workspace:
        assert workspace.space.stages == QUICK.stages


def test_an_edited_space_is_read_anew_by_the_next_command(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(as_yaml(QUICK, with_name=False))
    with open_run(RunRequest(Settings(space=str(path)), tmp_path / "run")):
        pass
    path.write_text(path.read_text().replace("[16, 128]", "[32, 128]"))
    with open_run(RunRequest(run_dir=tmp_path / "run")) as workspace:
        assert workspace.space.min_widths == (16, 16, 16, 32)
    path.write_text(path.read_text().replace("[32, 128]", "[132, 128]"))
    with (
        pytest.raises(UsageError, match=r"mine\.yaml: stages\.3\.widths"),
        open_run(RunRequest(run_dir=tmp_path / "run")),
    ):
        pass


def test_a_parent_in_a_config_is_one_of_the_command_line(config, tmp_path):
    (tmp_path / "large.pth").touch()
    config.write_text(config.read_text() + "parent: {init: efficientformerv2_s0, weights: large.pth}\n")
    settings = design_request(Settings(), tmp_path / "run", config).resolved()
    assert (settings.preset, settings.space, settings.train.init) == ("transfer", "parent", "supernet")
    assert settings.parent.weights == str((tmp_path / "large.pth").resolve())


def test_another_parent_does_not_get_the_weights_of_the_one_before(photos, tmp_path):
    def parent(**given):
        settings = Settings.model_validate({"data": str(photos), "parent": given})
        with open_run(design_request(settings, tmp_path / "run", None)) as workspace:
            return workspace.settings.parent

    (tmp_path / "own.pth").touch()
    parent(init="efficientformerv2_s0", weights=str(tmp_path / "own.pth"))
    assert parent(init="efficientformerv2_s0").weights == str(tmp_path / "own.pth"), "the run remembers them"
    assert parent(init="efficientformerv2_s1").weights is None


@pytest.mark.parametrize(
    ("data", "name"),
    [("hf:uoft-cs/cifar100:main#fine_label", "cifar100"), ("https://host/sets/pets/train-{0..3}.tar", "pets")],
)
def test_data_that_are_no_path_name_the_run_and_stay_as_they_are(tmp_path, monkeypatch, data, name):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        with open_run(RunRequest(Settings(data=data))) as workspace:
            assert workspace.run_dir.root.name == name and workspace.settings.data == data
