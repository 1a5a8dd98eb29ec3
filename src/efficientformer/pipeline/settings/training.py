"""Settings of trainings, of supernet and networks. The first sentence of a docstring is the help of its flag."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from efficientformer.data.augmentation import Augmentation, Balance
from efficientformer.pipeline.settings.group import NotNegative, Positive, PositiveFloat, SettingsGroup, Share
from efficientformer.pipeline.settings.parent import TrainingsBelowParent
from efficientformer.pipeline.settings.teacher import TeacherSettings
from efficientformer.search.supernet.mixing import BatchNormForm, ElasticWidth, Noise, Sampling
from efficientformer.training.recipe import Precision


class OptimizerSettings(SettingsGroup):
    """What every training needs."""

    epochs: Positive
    """Passes over the training images."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Images per step."""
    lr: PositiveFloat = 2e-3
    """Peak learning rate of AdamW."""
    weight_decay: NotNegative = 0.025
    """Weight decay of AdamW."""
    lr_warmup_epochs: NotNegative = 1.0
    """Epochs until the peak; a cosine follows."""
    label_smoothing: Share = 0.1
    """Probability for the other classes."""
    augmentation: Augmentation = "light"
    """Augment images."""
    balance: Balance = "none"
    """Balance classes. weights: the loss of an image is weighted by the inverse
    frequency of its class. sampling: an epoch has equally many images of every class."""
    precision: Precision = "fp32"
    """Precision of most products. bf16 is for GPUs and CPUs that have it; weights stay in single precision."""
    sync_batch_norm: bool = False
    """Compute batch norm over all processes of torchrun. They then draw the same paths, widths and mixing."""


class SupernetSettings(OptimizerSettings):
    """Training of the supernet."""

    epochs: Positive = 8
    """Passes over the training images."""
    alpha_lr: PositiveFloat = 1e-2
    """Peak learning rate of the path logits."""
    temperature: tuple[PositiveFloat, PositiveFloat] = (1.0, 0.2)
    """First and last softmax temperature. It falls geometrically in between."""
    noise: Noise = "uniform"
    """Noise added to the path logits. uniform: from 0 to 1 (the paper); with one sampled path, a path far behind is
    never drawn again. gumbel: unbounded, draws paths by their probabilities."""
    sampling: Sampling = "soft"
    """Which paths a step trains. soft: all, mixed by the noisy logits (the paper). single: one, drawn by the noisy
    logits, with a straight-through gradient. even: one, each drawn equally often; no noise, no temperature."""
    elastic_width: ElasticWidth = "random"
    """Trained widths. none: the largest (the paper). random: random ones in every other step. sandwich: the
    largest, the smallest and random ones in every step."""
    batch_norm: BatchNormForm = "shared"
    """Batch norm of EfficientFormerV2 spaces. shared: one for all widths. switchable: one for each number of channels
    (the paper). Their statistics are re-estimated for scores in either form."""
    networks: Positive = 4
    """Networks that a step trains. In EfficientFormerV2 spaces. 4: the largest, the smallest and two random ones (the
    paper); 2: the largest and a random one; 1: a random one."""
    mixup: NotNegative = 0.0
    """Strength of mixup; 0: off."""
    cutmix: NotNegative = 0.0
    """Strength of cutmix; 0: off."""
    ema_decay: Share = 0.0
    """Decay of the moving average; 0: off."""
    recompute: bool = False
    """Save memory by computing activations twice. A step takes about a third longer."""
    held_out: Annotated[float, Field(gt=0, lt=0.9)] = 0.1
    """Share of images kept for scoring subnets."""

    @model_validator(mode="after")
    def _sampling_needs_noise(self) -> Self:
        if self.sampling == "single" and self.noise == "none":
            raise ValueError("sampling 'single' needs noise (uniform or gumbel): without it one path alone is trained")
        return self


OF_METAPATHS = ("alpha_lr", "temperature", "noise", "sampling", "elastic_width")
OF_SLIMMABLE = ("batch_norm", "networks")
"""Settings of the supernet without effect in spaces of EfficientFormerV2, and in those of EfficientFormer."""


class NetworkSettings(OptimizerSettings):
    """Training of one network."""

    epochs: Positive = 10
    """Passes over the training images."""
    mixup: NotNegative = 0.0
    """Strength of mixup; 0: off."""
    cutmix: NotNegative = 0.0
    """Strength of cutmix; 0: off."""
    ema_decay: Share = 0.99
    """Decay of the moving average; 0: off."""
    drop_path_rate: Share = 0.0
    """Probability of skipping the last block. It falls linearly towards the stem."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of a layer over the next. For weights that were trained before."""
    frozen_epochs: NotNegative = 0.0
    """First epochs that train the head alone."""
    evaluate_every: Positive = 2
    """Epochs between validation scores in the log."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Epochs without progress that end it; 0: none. Every epoch is scored on images held out of those for training
    (supernet.held_out): by top-1, or by balanced accuracy with a balance."""
    keep: Literal["last", "best"] | None = None
    """Epoch of the weights. By default last, and with patience best."""

    @property
    def judges_epochs(self) -> bool:
        """Whether a part of the training images is held out to score every epoch."""
        return self.patience > 0 or self.keep == "best"

    @property
    def keeps_best(self) -> bool:
        return self.judges_epochs and self.keep != "last"


class TrainSettings(TeacherSettings, NetworkSettings):
    """Training of the networks that were found."""

    init: Literal["scratch", "supernet"] = "scratch"
    """Initial weights. scratch: new ones (the paper). supernet: the supernet's."""
    head_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout in the head for masks. Of whole maps before the classes are told apart; 0.1 in the recipe of ADE20K."""

    @property
    def idle(self) -> frozenset[str]:
        return super().idle | (frozenset() if self.head_dropout else {"train.head_dropout"})


class ParentSettings(TrainingsBelowParent, NetworkSettings):
    """Fine-tuning of the parent: the trained network that design --init starts from."""

    weights: str | None = None
    """File of the published network's weights; downloaded by default."""
    epochs: Annotated[int, Field(ge=0)] = 10
    """Passes over the training images. 0: the parent is taken as it is; it must know the run's classes."""
