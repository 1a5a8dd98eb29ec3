"""Verb `train`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from efficientformer.cli.options import RunOptions, SettingsOption
from efficientformer.pipeline.run.settings import Settings


def train(
    *,
    init: str | None = None,
    weights: Annotated[Path | None, Parameter(name="--weights")] = None,
    options: RunOptions = RunOptions(),
    settings: SettingsOption = Settings(),
) -> None:
    """Train every network that slimming found, or, with --init, fine-tune a pretrained network.

    Fine-tuning uses preset fine_tune (one epoch of the head alone, then learning rates that decrease towards the stem;
    a published network at 224 px, a file at the resolution that it was trained at), scores the network on the
    validation images, writes it as ONNX and times the file. A head that was trained on the same classes is kept. After
    an interruption the same command resumes, and repeats less than a minute. With --teacher, networks also learn what
    another network answers for the same images; --teacher FILE --help shows its settings, such as --distillation.

    For example:

        efficientformer train --train.epochs 200 --train.lr 1e-3 --run-dir runs/photos
        efficientformer train --train.init supernet --run-dir runs/photos
        efficientformer train --init efficientformer_l1 --data photos --run-dir runs/fine
        efficientformer train --init efficientformerv2_s0 --weights s0.pth --data photos --resolution 160
        efficientformer train --init efficientformerv2_s0 --data photos --teacher runs/large/model.onnx

    Parameters
    ----------
    init
        Network to fine-tune: a published one, such as efficientformer_l1, or a weights.safetensors that a run wrote.
    weights
        File of the published network's weights, with any names of tensors; downloaded by default.
    """
    from efficientformer.pipeline import verbs

    options.show(verbs.train(settings, init=init, weights=weights, **options.place))
