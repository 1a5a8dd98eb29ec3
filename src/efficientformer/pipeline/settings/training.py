"""Settings of trainings, of supernet and networks. The first sentence of a docstring is the help of its flag."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from efficientformer.data.augmentation import Augmentation, Balance
from efficientformer.pipeline.settings.group import NotNegative, Positive, PositiveFloat, SettingsGroup, Share
from efficientformer.pipeline.settings.parent import TrainingsBelowParent
from efficientformer.pipeline.settings.teacher import WITHOUT_TEACHER, TeacherSettings
from efficientformer.search.supernet.mixing import BatchNormForm, ElasticWidth, Noise, Sampling
from efficientformer.training.recipe import Precision
from efficientformer.training.schedule import Schedule

FINER = (
    *("lr_per", "schedule", "lr_final", "lr_warmup_from", "accumulate", "clip_norm", "agc", "repeated"),
    *("head_dropout", "sync_batch_norm", "compile"),
)
"""Settings of a training that few need. At their defaults stamps and `design --help` leave them out."""
AUTO = "auto"
BY_MACHINE = {f"{group}.precision": AUTO for group in ("supernet", "parent", "train")}
"""Settings that the training device decides on at this value. Stamps leave them out then, as they do the device: what
was trained elsewhere stays up to date."""
UNUSED_BY_TRIALS = WITHOUT_TEACHER | {"train.compile"}
"""Dotted names of the settings of `train` that short trainings of many networks do not have."""


class OptimizerSettings(SettingsGroup):
    """What every training needs."""

    epochs: Positive
    """Passes over the training images."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Images per batch. Of all processes together, which share them evenly; a step is a batch, or several of them."""
    accumulate: Positive = 1
    """Batches per step. Their gradients are averaged: it has accumulate times batch_size images, in the memory of
    batch_size. Batch norm sees each batch by itself."""
    lr: PositiveFloat = 2e-3
    """Peak learning rate of AdamW."""
    lr_per: Annotated[int, Field(ge=0)] = 0
    """Images of a step that lr is for; 0: any. With 1024 (the paper) a step of 512 images has half of lr, counted over
    all processes and accumulated batches."""
    weight_decay: NotNegative = 0.025
    """Weight decay of AdamW."""
    lr_warmup_epochs: NotNegative = 1.0
    """Epochs until the peak; the schedule follows."""
    lr_warmup_from: NotNegative | None = None
    """Learning rate of the first step, if it warms up. By default the peak over the number of warm-up steps."""
    schedule: Schedule = "cosine"
    """Fall of the learning rate. cosine: half a cosine (the paper). poly: a polynomial of power 0.9, for masks. steps:
    to a tenth after two thirds of the training and to a hundredth after eleven twelfths, for boxes."""
    lr_final: NotNegative | None = None
    """Learning rate at the end. By default a hundredth of the peak; with schedule poly 0, and steps has none."""
    clip_norm: NotNegative = 1.0
    """Largest norm of the gradient; 0: any."""
    agc: NotNegative = 0.0
    """Adaptive gradient clipping in place of clip_norm; 0: off. The norm of a unit's gradient is at most this share of
    the norm of its weights (the paper: 0.01); linear classifiers are not clipped."""
    label_smoothing: Share = 0.1
    """Probability for the other classes."""
    augmentation: Augmentation = "light"
    """Augment images."""
    balance: Balance = "none"
    """Balance classes. weights: the loss of an image is weighted by the inverse
    frequency of its class. sampling: an epoch has equally many images of every class."""
    repeated: Positive = 1
    """Times that an image of an epoch is drawn. Each time it is augmented anew, and the epoch has so many times fewer
    images: it stays as long. 3 in the paper's recipe (repeated augmentation)."""
    precision: Literal["auto"] | Precision = "auto"
    """Of most products. auto: bf16 on GPUs that have it, else fp32. Weights stay in single precision."""
    sync_batch_norm: bool = False
    """Compute batch norm over all processes of torchrun. They then draw the same paths, widths and mixing."""

    @property
    def step_size(self) -> int:
        """Images per step, of all its batches."""
        return self.batch_size * self.accumulate

    @property
    def peak_lr(self) -> float:
        """The peak learning rate of a step with so many images."""
        return self.lr * self.step_size / self.lr_per if self.lr_per else self.lr

    @model_validator(mode="after")
    def _the_peak_is_the_highest_rate(self) -> Self:
        for name, rate in (("lr_warmup_from", self.lr_warmup_from), ("lr_final", self.lr_final)):
            if rate is not None and rate > self.peak_lr:
                raise ValueError(f"{name} {rate:g} is above the peak learning rate, {self.peak_lr:g}: lower it")
        return self


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
    compile: bool = False
    """Compile the network for its training. It takes minutes once and needs a C++ compiler."""
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


class ParentSettings(TrainingsBelowParent, NetworkSettings):
    """Fine-tuning of the parent: the trained network that design --init starts from."""

    weights: str | None = None
    """File of the published network's weights; downloaded by default."""
    epochs: Annotated[int, Field(ge=0)] = 10
    """Passes over the training images. 0: the parent is taken as it is; it must know the run's classes."""
