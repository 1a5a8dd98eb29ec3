"""The network of an architecture: stem, four stages, and a linear head on average-pooled features (paper, figure 3), or
the head of a dense task on the maps of all stages.

Most methods have timm's names and meaning, so that code that uses timm's networks can use these.
"""

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from efficientformer.arch.cost import network_cost
from efficientformer.arch.parts import stage_grids, strided
from efficientformer.arch.resolution import Grid
from efficientformer.arch.spec import NUM_STAGES, Architecture
from efficientformer.errors import RecordError, UsageError
from efficientformer.formats.network import WeightsAbout
from efficientformer.models.attention_bias import BiasedAttention
from efficientformer.models.embed import Stem
from efficientformer.models.heads.build import build_head
from efficientformer.models.heads.fpn import output_norms
from efficientformer.models.hub import OnHub
from efficientformer.models.initialization import init_projection
from efficientformer.models.layout import flatten, grid_of, unflatten
from efficientformer.models.stage import Stage, build_downsample, drop_path_ramp
from efficientformer.models.weights_file import naming, require_fit
from efficientformer.reading import checked, parse_json, shown_path


class Network(OnHub, nn.Module):
    """Images (B, in_chans, H, W) of any size to logits (B, K), or to the one output of the architecture's dense head.

    num_classes: K; with 0 there is no head, and the network returns features (B, C).
    resolution: side of the images, or height and width, that the attention bias tables are for.
    has_distillation_head: a second head. Logits are the mean of both; after `set_distilled_training` a training forward
        returns both.
    drop_path_rate: probability of dropping a branch of the last block in training; it grows linearly from 0.
    layer_scale_init: initial layer scales.

    `preprocessing` is how its images were prepared, as a JSON value, or None where that is unknown. Raises UsageError
    for impossible arguments.
    """

    # For TorchScript, which reads annotations of the class, or else those of its bases, and compiles properties.
    pooled_dims: list[int]
    __jit_unused_properties__: ClassVar[list[str]] = ["feature_info"]

    def __init__(
        self,
        architecture: Architecture,
        *,
        num_classes: int = 1000,
        resolution: int | Grid = 224,
        in_chans: int = 3,
        has_distillation_head: bool = False,
        drop_path_rate: float = 0.0,
        layer_scale_init: float = 1e-5,
    ) -> None:
        super().__init__()
        if num_classes < 0 or in_chans < 1:
            raise UsageError(
                f"num_classes must be at least 0 and in_chans at least 1, not {num_classes} and {in_chans}."
            )
        if not 0 <= drop_path_rate < 1:
            raise UsageError(f"drop_path_rate must be at least 0 and below 1, not {drop_path_rate}.")
        if has_distillation_head and architecture.head is not None:
            raise UsageError(f"A second head is for classifiers; the architecture has a {architecture.head}.")
        _require_positive(resolution)
        self.architecture = architecture
        self.preprocessing: dict[str, Any] | None = None
        self.is_backbone_frozen = False
        self.num_classes, self.in_chans, self.resolution = num_classes, in_chans, resolution
        is_v2, widths = architecture.is_v2, architecture.widths
        activation = architecture.activation if is_v2 else "relu"
        self.stem = Stem(widths[0], architecture.stem_strides, in_chans, activation=activation)
        self.stages = nn.ModuleList()
        drop_paths = drop_path_ramp(architecture, drop_path_rate)
        grids = stage_grids(architecture.stem_strides, resolution)
        for index, (stage, grid) in enumerate(zip(architecture.stages, grids, strict=True)):
            self.stages.append(
                Stage(
                    stage,
                    grid,
                    downsample=build_downsample(architecture, index, grids[index - 1]),
                    gives_tokens=index == NUM_STAGES - 1 and architecture.ends_in_tokens,
                    drop_paths=drop_paths[index],
                    layer_scale_init=layer_scale_init,
                    activation=architecture.activation,
                )
            )
        self.num_features = self.head_hidden_size = widths[-1]
        self.norm = _final_norm(architecture)
        self.output_norms: nn.ModuleList | None = None
        self.head = self._new_head()
        self.head_dist: nn.Module | None = _linear(widths[-1], num_classes) if has_distillation_head else None
        self.pooled_dims = [1] if architecture.ends_in_tokens else [2, 3]
        self.distilled_training = False

    @classmethod
    def of(cls, about: Mapping[str, str], tensors: Mapping[str, Tensor], path: Path) -> "Network":
        """Rebuild a network from the metadata `about` and the tensors of the weights file `path`.

        Raises RecordError when the metadata do not describe a network or the tensors do not fit it.
        """
        try:
            values = {name: parse_json(about[name]) for name in WeightsAbout.__annotations__ if name in about}
            record = checked({"in_chans": 3, **values}, WeightsAbout)
            architecture, resolution = Architecture.from_json(record["architecture"]), record["resolution"]
            resolution = resolution if isinstance(resolution, int) else (resolution[0], resolution[1])
            _require_weights(architecture, resolution, tensors)
            network = cls(
                architecture,
                num_classes=record["num_classes"],
                resolution=resolution,
                in_chans=record["in_chans"],
                has_distillation_head="head_dist.weight" in tensors,
            )
            network.preprocessing = record.get("preprocessing")
        except (ValueError, UsageError) as error:
            raise RecordError(
                f"{shown_path(path)} does not say which network it belongs to ({error}). Build the network with "
                "create_model and call load_weights."
            ) from error
        with naming(path):
            network.load_exactly(tensors)
        return network

    def load_exactly(self, tensors: Mapping[str, Tensor]) -> None:
        """Load tensors that have the network's own names. Raises RecordError that lists what does not fit."""
        self.require_fit(tensors)
        self.load_state_dict(tensors)

    def require_fit(self, tensors: Mapping[str, Tensor]) -> None:
        """Raise RecordError that lists what does not fit of tensors that have the network's own names."""
        described = f"{self.architecture} with {self.num_classes} classes at resolution {self.resolution}"
        require_fit(self.state_dict(), tensors, described)

    def about(self) -> dict[str, str]:
        """Metadata for a weights file, from which `of` rebuilds this network. Raises UsageError for a deploy form."""
        if isinstance(self.stem.norm1, nn.Identity):
            raise UsageError(
                "A deploy form cannot be saved as weights: save the network before fuse, or export the deploy form."
            )
        return {
            "architecture": json.dumps(self.architecture.to_json()),
            "num_classes": str(self.num_classes),
            "resolution": json.dumps(self.resolution),
            "in_chans": str(self.in_chans),
            **({"preprocessing": json.dumps(self.preprocessing)} if self.preprocessing else {}),
        }

    def forward(self, x_BCHW: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.output_norms is not None:
            return self.head(self.forward_normed_maps(x_BCHW), grid_of(x_BCHW))
        return self.forward_head(self.forward_features(x_BCHW))

    def forward_features(self, x_BCHW: Tensor) -> Tensor:
        """Normalized features before pooling: tokens (B, N, C), or in V2 a map (B, C, H, W).

        Before a dense head they are the map that leaves the last stage.
        """
        x = self.stem(x_BCHW)
        for stage in self.stages:
            x = stage(x)
        return self.norm(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Logits from the output of `forward_features`, or with `pre_logits` its mean (B, C).

        Raises UsageError for logits of a dense head, which reads the maps of several stages.
        """
        mean_BC = x.mean(dim=self.pooled_dims)
        if pre_logits:
            return mean_BC
        if self.output_norms is not None:
            raise UsageError("A dense head reads the maps of several stages: call the network, not forward_head.")
        logits_BK = self.head(mean_BC)
        if self.head_dist is None:
            return logits_BK
        distillation_BK = self.head_dist(mean_BC)
        if self.distilled_training and self.training and not torch.jit.is_scripting():
            return logits_BK, distillation_BK
        return (logits_BK + distillation_BK) / 2

    def forward_maps(self, x_BCHW: Tensor) -> list[Tensor]:
        """The maps (B, C, H, W) that leave the stages, before the final norm."""
        x, maps = self.stem(x_BCHW), []
        for stage in self.stages:
            grid = strided(grid_of(x))
            x = stage(x)
            maps.append(unflatten(x, grid) if stage.gives_tokens else x)
        return maps

    def forward_normed_maps(self, x_BCHW: Tensor) -> list[Tensor]:
        """The maps (B, C, H, W) that the dense head reads: those of `forward_maps`, each behind its norm."""
        maps = self.forward_maps(x_BCHW)
        if self.output_norms is not None:
            for index, norm in enumerate(self.output_norms):
                maps[index] = norm(maps[index])
        return maps

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Maps (B, C, H, W) of the stages `indices`, all by default; `norm` normalizes that of the last stage, or
        all of them as a dense head reads them.

        Returns a pair of the last stage's features, as `forward_features` returns them, and the maps, or with
        `intermediates_only` the maps alone. `stop_early` has no effect on the result. Raises UsageError for an
        `output_fmt` other than NCHW and for stages that the network does not have.
        """
        if output_fmt != "NCHW":
            raise UsageError(f"Only output_fmt='NCHW' is supported, not {output_fmt!r}.")
        maps = self.forward_maps(x)
        last = self._normalized(maps[-1])
        normed = [*maps[: NUM_STAGES - 1], last]
        if self.output_norms is not None:
            normed = [norm_(map_) for norm_, map_ in zip(self.output_norms, maps, strict=True)]
        chosen = [(normed if norm else maps)[index] for index in self._stages_of(indices)]
        if intermediates_only:
            return chosen
        return (flatten(last) if self.architecture.ends_in_tokens else last), chosen

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop the stages after the last of `indices`, and the head. Returns the indices, counted from the front."""
        chosen = self._stages_of(indices)
        is_cut = max(chosen) < len(self.stages) - 1
        self.stages = self.stages[: max(chosen) + 1]
        self.num_features = self.head_hidden_size = self.architecture.widths[max(chosen)]
        if prune_norm or is_cut:
            self.norm = nn.Identity()
        if prune_head or is_cut:
            self.reset_classifier(0)
        return chosen

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        stride = math.prod(self.architecture.stem_strides)
        return [
            {"num_chs": width, "reduction": stride * 2**index, "module": f"stages.{index}"}
            for index, width in enumerate(self.architecture.widths)
        ]

    def get_classifier(self) -> nn.Module | tuple[nn.Module, nn.Module]:
        return self.head if self.head_dist is None else (self.head, self.head_dist)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """New heads for `num_classes` classes; with 0 the network returns features (B, C).

        A dense head has the options of the architecture. Raises UsageError for one behind fewer than all stages.
        """
        if self.architecture.head is not None and num_classes and len(self.stages) < NUM_STAGES:
            raise UsageError("A dense head reads all four stages, and this network was pruned to fewer.")
        self.num_classes, like = num_classes, next(self.parameters())
        self.head = self._new_head()
        for part in (self.head, self.output_norms):
            if part is not None:
                part.to(like).train(self.training)
        if self.head_dist is not None:
            self.head_dist = _linear(self.num_features, num_classes).to(like).train(self.training)

    def freeze_backbone(self, enable: bool = True) -> None:
        """Train the heads alone, of a dense task with the norms in front: everything before keeps its weights and batch
        norm statistics."""
        self.is_backbone_frozen = enable
        for part in (self.stem, self.stages, self.norm):
            part.requires_grad_(not enable)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for part in (self.stem, self.stages, self.norm) if self.is_backbone_frozen else ():
            part.eval()
        return self

    def set_drop_path_rate(self, rate: float) -> None:
        """Set the probability of dropping a branch of the last block; it grows linearly from 0."""
        for stage, drop_paths in zip(self.stages, drop_path_ramp(self.architecture, rate), strict=True):
            for block, drop_path in zip(stage.blocks, drop_paths, strict=True):  # type: ignore[arg-type]
                block.drop_path.drop_prob = drop_path

    def set_distilled_training(self, enable: bool = True) -> None:
        self.distilled_training = enable

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in the backward pass instead of storing them: less memory, more time."""
        for stage in self.stages:
            stage.recompute = enable  # type: ignore[assignment]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layers from the stem to the head, for learning rates that decay from layer to layer."""
        fine = [(r"^stages\.(\d+)\.downsample", (0,)), (r"^stages\.(\d+)\.blocks\.(\d+)", None)]
        blocks = [(r"^stages\.(\d+)", None)] if coarse else fine
        return {"stem": r"^stem", "blocks": [*blocks, (r"^norm", (99999,))]}

    def no_weight_decay(self) -> set[str]:
        return {name for name, _ in self.named_parameters() if name.endswith("attention_bias")}

    def set_resolution(self, resolution: int | Grid) -> Self:
        """Resize the attention bias tables for images of another size, in place.

        Raises UsageError unless the resolution is positive.
        """
        _require_positive(resolution)
        with torch.device("meta"):
            resized = Network(self.architecture, num_classes=self.num_classes, resolution=resolution)
        attentions = (module for module in resized.modules() if isinstance(module, BiasedAttention))
        for module in self.modules():
            if isinstance(module, BiasedAttention):
                module.resize(next(attentions).grid)
        self.resolution = resolution
        return self

    def _stages_of(self, indices: int | Sequence[int] | None) -> list[int]:
        count = len(self.stages)
        if indices is None:
            return list(range(count))
        if isinstance(indices, int):
            return list(range(count))[-indices:]
        if beyond := [index for index in indices if not -count <= index < count]:
            raise UsageError(f"There is no stage {beyond[0]}; the network has {count}, counted from 0.")
        return [index % count for index in indices]

    def _new_head(self) -> nn.Module:
        """A head for `num_classes` classes, and behind it the norms of the maps that a dense one reads."""
        self.output_norms = None
        if self.architecture.head is None or not self.num_classes:
            return _linear(self.num_features, self.num_classes)
        self.output_norms = output_norms(self.architecture, first_stage=self.architecture.head.first_stage)
        return build_head(self.architecture, self.num_classes)

    def _normalized(self, last_BCHW: Tensor) -> Tensor:
        if len(self.stages) < NUM_STAGES or not isinstance(self.norm, nn.LayerNorm):
            return self.norm(last_BCHW)
        return self.norm(last_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def at_resolution(network: Network, resolution: int | Grid) -> Network:
    """A copy of a network for images of another size; see `set_resolution`."""
    return copy.deepcopy(network).set_resolution(resolution)


def _require_weights(architecture: Architecture, resolution: int | Grid, tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError for a network with more parameters than the tensors: it is not built only to be refused."""
    # A dense head has more parameters than that of a classifier with one class.
    described = network_cost(replace(architecture, head=None), resolution, 1).num_params
    given = sum(value.numel() for value in tensors.values() if isinstance(value, Tensor))
    if described > given:
        raise ValueError(f"its architecture has {described} parameters and its tensors {given} numbers")


def _final_norm(architecture: Architecture) -> nn.Module:
    """What normalizes the features of a classifier; before a dense head every map has a norm of its own."""
    if architecture.head is not None:
        return nn.Identity()
    return (nn.BatchNorm2d if architecture.is_v2 else nn.LayerNorm)(architecture.widths[-1])


def _linear(width: int, num_classes: int) -> nn.Module:
    return init_projection(nn.Linear(width, num_classes)) if num_classes else nn.Identity()


def _require_positive(resolution: int | Grid) -> None:
    if min(resolution if isinstance(resolution, tuple) else (resolution,)) < 1:
        raise UsageError(f"The resolution must be positive, not {resolution}.")
