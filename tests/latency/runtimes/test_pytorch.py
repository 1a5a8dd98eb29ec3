from pathlib import Path

import pytest
import torch
from torch import nn

from efficientformer.errors import LatencyError
from efficientformer.latency.runtimes.pytorch import PyTorch


class _Witness(nn.Module):
    def forward(self, x):
        return torch.get_num_threads(), torch.is_inference_mode_enabled(), self.training


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_inference_mode_hold_during_calls_only(threads):
    before = torch.get_num_threads()
    run = PyTorch(threads).prepare(_Witness().train(), (1, 3, 8, 8)).run
    assert run() == (threads, True, False)
    assert torch.get_num_threads() == before and not torch.is_inference_mode_enabled()


def test_exported_files_and_wrong_shapes_are_refused():
    assert PyTorch.suffixes == ()
    with pytest.raises(LatencyError, match="runtime 'onnxruntime'"):
        PyTorch(1).open(Path("network.onnx"), (1, 3, 28, 28))
    with pytest.raises(LatencyError, match="does not run on an input of shape"):
        PyTorch(1).prepare(nn.Conv2d(3, 8, 1), (1, 4, 8, 8))
