"""One run as its phases share it: its directory, settings, images and device."""

import contextlib
import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from efficientformer.arch.dense import DenseHead, MaskRcnn, OneStage, SemanticFpn
from efficientformer.arch.head_space import HeadSpace
from efficientformer.arch.resolution import grid_of_input
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.space_file import copied_space, find_space
from efficientformer.arch.spaces import SPACES, space_below
from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import RecordError, UsageError
from efficientformer.formats.run import DataRecord
from efficientformer.latency.devices import DeviceOptions, open_device
from efficientformer.pipeline.run.budget import Budget, parse_budgets
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.run_network import name_of_init, unknown_init
from efficientformer.pipeline.run.settings import BELOW_PARENT, Settings
from efficientformer.pipeline.run.trust.programs import Programs
from efficientformer.pipeline.settings.teacher import PARENT_AS_TEACHER
from efficientformer.reading import read_record
from efficientformer.run_dir import RunDir
from efficientformer.tasks.words import task_words

if TYPE_CHECKING:
    import torch

    from efficientformer.data.dataset import ImageDataset, ImageSplit
    from efficientformer.data.transforms import Preprocessing
    from efficientformer.data.unlabelled import UnlabelledImages
    from efficientformer.latency.runtime import Runtime
    from efficientformer.tasks.kind import SearchedTask, TaskKind
    from efficientformer.training.crew import Crew
    from efficientformer.training.world import World


@dataclass(frozen=True)
class Workspace:
    """One run. Everything is read from its directory or follows from its settings."""

    run_dir: RunDir
    settings: Settings
    console: RunConsole
    programs: Programs = field(default_factory=Programs)
    crew: "Crew | None" = None
    """Where this process leads others: all of them. The world is this process alone then."""

    @cached_property
    def budgets(self) -> list[Budget]:
        return parse_budgets(self.settings.budget)

    @cached_property
    def named_space(self) -> SearchSpace:
        """The search space of the settings. Raises UsageError for a file that cannot be used."""
        source = self.settings.supernet_from
        copies = [self.run_dir.space, *([RunDir(Path(source)).space] if source else [])]
        if self.settings.space == BELOW_PARENT:
            return self._space_below_parent(copies)
        named = {str(name): space for name, space in SPACES.items()}.get(self.settings.space)
        return named or find_space(Path(self.settings.space), copies)

    @property
    def space(self) -> SearchSpace:
        """The search space of the settings, with heads of the run's task where it has others. Raises as `named_space`
        does, and UsageError for a task that has no search."""
        space, head = self.named_space, self.task_head
        if isinstance(head, MaskRcnn):
            raise UsageError(task_words("instance").unsearched)
        if _are_alike(space.head, head):
            return space
        return replace(space, head=None if head is None else HeadSpace.below(head))

    @property
    def task_head(self) -> DenseHead | None:
        """The dense head of the run's task by the settings; None for a classifier's."""
        match self.task_name:
            case "semantic":
                masks = self.settings.semantic
                return SemanticFpn(masks.fpn_width, masks.width)
            case "detection":
                boxes = self.settings.detection
                return OneStage(boxes.fpn_width, boxes.width, boxes.depth)
            case "instance":
                masks = self.settings.instance
                return MaskRcnn(masks.fpn_width, masks.width, masks.box_width, masks.proposals)
        return None

    @property
    def task_name(self) -> str:
        """That of the images; where this command did not read them, what the record of the run says."""
        if "dataset" not in vars(self) and self.run_dir.data.exists():
            with contextlib.suppress(RecordError):  # it is written again with the images
                return read_record(self.run_dir.data, DataRecord).get("task", "classification")
        return self.dataset.task

    def with_task_head(self, architecture: Architecture) -> Architecture:
        """The architecture with a head of the run's task: its own where it is one, else that of the settings."""
        head = self.task_head
        return architecture if _are_alike(architecture.head, head) else replace(architecture, head=head)

    def _space_below_parent(self, copies: list[Path]) -> SearchSpace:
        init = self.settings.parent.init
        if init is None:
            raise UsageError(
                f"--space {BELOW_PARENT} is below the network of --init (--parent.init), which is not given."
            )
        if init in ZOO:
            return space_below(init, ZOO[init])
        if not Path(init).exists():
            if copy := copied_space(init, copies):
                return copy
            raise unknown_init(init)
        from efficientformer.models.weights.load import architecture_of

        return space_below(name_of_init(init), architecture_of(Path(init)))

    @property
    def teacher(self) -> str | None:
        """The network that networks of the run learn from, as `tasks.teachers` opens it. Raises UsageError for the
        parent of a run without one."""
        if self.settings.train.teacher != PARENT_AS_TEACHER:
            return self.settings.train.teacher
        if self.settings.parent.init is None:
            raise UsageError(
                "--teacher parent is the network of design --init, which is not given. Name a network, or use "
                "--teacher none."
            )
        return str(self.run_dir.parent_weights)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(1, 3, H, W): one image, as networks of the run are measured and exported."""
        return 1, 3, *grid_of_input(self.settings.resolution)

    @cached_property
    def dataset(self) -> "ImageDataset":
        from efficientformer.pipeline.run.images import load_dataset

        return load_dataset(self.run_dir, self.settings, self.console, is_first=self.world.is_first)

    @property
    def task(self) -> "TaskKind":
        """What the labels of the images ask for: losses, scores, and their names."""
        from efficientformer.tasks.kinds import KINDS

        return KINDS[self.dataset.task]

    @property
    def searched_task(self) -> "SearchedTask":
        """The same with what a search and a teacher ask for. Raises UsageError for a task that has neither."""
        from efficientformer.tasks.kinds import searched

        return searched(self.dataset.task)

    @cached_property
    def training_images(self) -> "ImageSplit":
        from efficientformer.pipeline.run.images import load_training_images

        return load_training_images(self.dataset.train, self.settings, self.console)

    @cached_property
    def unlabelled_training_images(self) -> "ImageSplit | None":
        from efficientformer.pipeline.run.images import load_training_images

        found = self.unlabelled
        return None if found is None else load_training_images(found.images, self.settings, self.console)

    @cached_property
    def unlabelled(self) -> "UnlabelledImages | None":
        """The photographs of the setting train.unlabelled, but for validation images. Raises DataError for a folder
        without any."""
        from efficientformer.pipeline.run.images import load_unlabelled_images

        if self.settings.train.unlabelled is None:
            return None
        validation = self.dataset.val
        return load_unlabelled_images(
            self.run_dir, self.settings, self.console, validation, is_first=self.world.is_first
        )

    @cached_property
    def world(self) -> "World":
        from efficientformer.training.world import World, join_world

        return join_world() if self.crew is None else World()

    @property
    def together(self) -> "Workspace":
        """The same run, in which all processes of the crew train."""
        if self.crew is None:
            return self
        shared = replace(self, crew=None)
        known = {name: value for name, value in vars(self).items() if name not in ("crew", "world", "training_device")}
        vars(shared).update(known)  # what is loaded and opened by now
        return shared

    @property
    def preprocessing(self) -> "Preprocessing":
        from efficientformer.data.transforms import Preprocessing

        return Preprocessing.for_dataset(self.dataset, self.settings.resolution)

    @property
    def scored_preprocessing(self) -> "Preprocessing":
        """That of finished networks, when they are scored and in exported files. Raises UsageError for a crop of images
        that are not cropped."""
        from efficientformer.data.transforms import Preprocessing

        return Preprocessing.for_dataset(self.dataset, self.settings.resolution, self.settings.crop)

    @property
    def device_options(self) -> DeviceOptions:
        """The device to open. Raises UsageError for one whose program this user has not named."""
        self.programs.check(self.run_dir.root)
        return self.settings

    @cached_property
    def runtime(self) -> "Runtime":
        return open_device(self.device_options, self.settings.runtime, self.settings.threads)

    @cached_property
    def training_device(self) -> "torch.device":
        """Device of training and scoring. The first use also sets the number of CPU threads."""
        return open_training_device(self.settings, self.world.local_size)


def open_training_device(settings: Settings, num_processes: int = 1) -> "torch.device":
    """The device that the settings name, after the number of CPU threads of one of the processes on this machine is
    set. Raises UsageError for one that cannot be used."""
    import torch

    cores = max(1, (os.cpu_count() or 1) // num_processes)
    torch.set_num_threads(settings.training_threads or cores)
    name = settings.training_device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--training-device {name} cannot be used here: {error}") from error
    return device


def _are_alike(own: HeadSpace | DenseHead | None, head: DenseHead | None) -> bool:
    """Whether both are of one task: dense heads of one kind, or a classifier's."""
    return (None if own is None else own.kind) == (None if head is None else head.kind)
