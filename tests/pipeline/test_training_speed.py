"""Settings that make trainings faster: the precision of the device, and compilation, refused before hours of work."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from efficientformer.errors import UsageError
from efficientformer.pipeline.run import fit_images
from efficientformer.pipeline.run.settings import Settings
from efficientformer.training import compiled


@pytest.mark.parametrize(
    "asked, device, has_bf16, used",
    [
        ("auto", "cpu", True, "fp32"),
        ("auto", "cuda", True, "bf16"),
        ("auto", "cuda", False, "fp32"),
        ("fp32", "cuda", True, "fp32"),
        ("bf16", "cpu", False, "bf16"),
    ],
)
def test_the_precision_is_that_of_the_device_unless_one_is_asked_for(monkeypatch, asked, device, has_bf16, used):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    said = []
    workspace = SimpleNamespace(training_device=torch.device(device), console=SimpleNamespace(say=said.append))
    settings = Settings.model_validate({"train": {"precision": asked}}).train
    assert fit_images._precision(workspace, settings) == used
    assert len(said) == (asked != used == "bf16"), "what nobody asked for is said"


def compiling(task="classification", group="train", **settings):
    words: Any = SimpleNamespace(task=SimpleNamespace(words=SimpleNamespace(name=task)))
    training = getattr(Settings.model_validate({group: {"compile": True, **settings}}), group)
    return words, training


def test_compilation_is_refused_where_it_cannot_work(monkeypatch):
    monkeypatch.setattr(compiled.shutil, "which", lambda name: "g++")
    fit_images.require_compiled(*compiling())
    with pytest.raises(UsageError, match=r"train\.compile is not for masks of objects"):
        fit_images.require_compiled(*compiling("instance"))
    with pytest.raises(UsageError, match=r"parent\.compile and parent\.sync_batch_norm exclude each other"):
        fit_images.require_compiled(*compiling(group="parent", sync_batch_norm=True))
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="needs a C"):
        fit_images.require_compiled(*compiling(group="parent"))
    fit_images.require_compiled(*compiling(compile=False))
    with pytest.raises(ValueError, match="compile"):
        Settings.model_validate({"supernet": {"compile": True}})
