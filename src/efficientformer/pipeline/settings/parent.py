"""Settings of a parent and of trainings below it; a part of `parent`. The first sentence of a docstring is the help of
its flag."""

from typing import Annotated

from pydantic import BaseModel, Field


class TrainingsBelowParent(BaseModel):
    """A trained network to slim, and what smaller ones learn in its weights before they are trained alone."""

    init: str | None = None
    """Trained network to slim. A published one, such as efficientformerv2_s0, or a weights.safetensors of a run;
    by default there is none, and the supernet is trained from new weights."""
    round_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs at half of the parent's latency, for budgets below it. The network there learns from the parent before it
    is slimmed further; 0: it is slimmed at once."""
    round_lr: Annotated[float, Field(gt=0)] = 2e-4
    """Peak learning rate of these epochs."""
    elastic_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs in which smaller networks learn from the parent before they are scored. All in its weights, as a supernet
    of EfficientFormerV2 is trained; 0: none."""
    elastic_lr: Annotated[float, Field(gt=0)] = 1e-4
    """Peak learning rate of these epochs. A low one leaves the parent about as it is."""

    @property
    def has_rounds(self) -> bool:
        """Whether budgets below half of the parent's latency are slimmed to in two rounds."""
        return self.init is not None and self.round_epochs > 0

    @property
    def is_elastic(self) -> bool:
        """Whether networks below the parent are trained in its weights."""
        return self.init is not None and self.elastic_epochs > 0
