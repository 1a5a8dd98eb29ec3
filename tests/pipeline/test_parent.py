"""The parent of a run, as phase `supernet` makes it of a file."""

import json

import pytest
import torch

from efficientformer.errors import RecordError
from efficientformer.models.create import create_model
from efficientformer.models.network import Network
from efficientformer.models.weights.load import load_network, save_weights
from efficientformer.pipeline.networks.parent import fine_tuned_parent, require_parent
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.oracles import build_supernet
from efficientformer.run_dir import RunDir
from efficientformer.search.parent import inherit

from ..models.small import SMALL


@pytest.fixture
def taken(few_images, tmp_path):
    """A parent that is taken as it is, and its run."""

    def take(network):
        path = tmp_path / "large.safetensors"
        save_weights(network, path, {"classes": json.dumps(list(few_images.classes))})
        given = {"preset": "transfer", "resolution": 32, "parent": {"init": str(path), "epochs": 0}}
        workspace = Workspace(RunDir(tmp_path / "run"), resolve_settings(given), RunConsole(quiet=True))
        workspace.__dict__["dataset"] = few_images
        return workspace, fine_tuned_parent(workspace, "run")[0]

    return take


def test_two_heads_that_a_teacher_left_become_one_that_computes_the_same(taken):
    torch.manual_seed(0)
    trained = Network(SMALL, num_classes=10, resolution=32, has_distillation_head=True).eval()
    workspace, parent = taken(trained)
    images = torch.randn(2, 3, 32, 32)
    assert parent.head_dist is None and torch.allclose(parent.eval()(images), trained(images), atol=1e-6)
    assert load_network(workspace.run_dir.parent_weights).head_dist is None
    inherit(build_supernet(workspace), parent)


def test_weights_that_do_not_fit_their_name_are_refused_before_anything_is_measured(few_images, tmp_path):
    path = tmp_path / "other.pth"
    torch.save(create_model("efficientformerv2_s1", num_classes=2, resolution=32).state_dict(), path)
    parent = {"init": "efficientformerv2_s0", "weights": str(path)}
    given = {"preset": "transfer", "space": "parent", "resolution": 32, "parent": parent}
    workspace = Workspace(RunDir(tmp_path / "run"), resolve_settings(given), RunConsole(quiet=True))
    workspace.__dict__["dataset"] = few_images
    with pytest.raises(RecordError, match=r"other\.pth.*do not fit"):
        require_parent(workspace)
