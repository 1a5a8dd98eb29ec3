"""docs/scaling.md: what ImageNet takes, computed from seconds that were measured on pieces of the work."""

from typing import Any

from answers.evidence import kept, short_title
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.training.checkpoint import MOST_OF_TIME
from studies.naming import Name

NUM_IMAGES, NUM_GPUS = 1_281_167, 8
SUBJECT = "imagenet_224px"
KINDS = {
    "single": "supernet, one path of each MetaPath",
    "soft": "supernet, all paths mixed (the paper)",
    "soft recomputed": "the same, recomputing activations (`--supernet.recompute`)",
    "largest": "the largest network itself, the most that a found network can take",
}
PAGE = """\
<!-- Written by benchmarks/results.py from the records; edit benchmarks/answers/scaling.py. -->
# How long ImageNet takes

The cost of the recipe `imagenet`, computed from pieces of the work that were measured. We have not run it: the hours
below are products, and the last section lists what they leave out.

## Training

Steps of one {gpu}, {precision}, {resolution} px, batch {batch_size}, with optimizer, on images already in the memory
of the GPU (`{steps_record}`);
{epochs} epochs of {images} images, divided evenly among {num_gpus} such GPUs:

| what is trained | milliseconds an image | memory of the GPU | GPU hours | hours on {num_gpus} GPUs |
|---|---|---|---|---|
{training_rows}

These are steps at the largest width, the fastest third of those measured. With `--supernet.elastic-width random` every
other step is narrower; a step that meets a width for the first time takes 0.75 to 1.2 seconds, and there are 71 widths.

## Images

Decoding, cropping and augmenting a photo of {megapixels:.2f} megapixels takes {decode_ms:.1f} ms of a core
({machine}, `{record}`).
{num_gpus} GPUs that train the largest network use {images_per_s:,.0f} images a second: {num_cores:.0f} such cores. With
fewer, the images set the pace (`--workers` is per process).

Listing {images} files takes {list_s:.0f} s of a core at first and {again_s:.1f} s later, once a machine for all
processes; nothing is decoded before the training.

## Search

A candidate is judged on {judged:,} images after {estimating:,} that estimate batch norm: {smallest_s:,.0f} (smallest
network) to {largest_s:,.0f} s (largest) of a core of the same machine. A descent from L7's size to three budgets judged
{num_judged} networks, which would take {descent_hours:.0f} hours of a core: judge on a GPU, or with fewer images
(`--slim.images`). We have not measured it on a GPU. `torchrun` divides the candidates of a step among its processes.

## Checkpoints

One of the supernet with its optimizer has {mib:,.0f} MiB, and {mib_ema:,.0f} MiB with a moving average; it was written
in {write_s:.1f} s and read in {read_s:.1f} s. On a slower disk they are written less often: writing takes at most
{share:.0%} of the time.

## Not included

- **Gradients between GPUs.** DistributedDataParallel averages them during each backward pass (`training/world.py`).
  We have run it with two processes on a CPU, never with several GPUs.
- **The table**, which is measured on the device that the networks are for.
- **The teacher** of the recipe, a forward pass of RegNetY-16GF for every image.
- **Accuracy.** We have not trained a network on ImageNet.

The paper trains on a cluster of A100 and V100 GPUs and does not report the cost of the search.
"""


def page() -> str:
    settings = resolve_settings({"preset": "imagenet"})
    steps_name, steps = kept("search_cost", SUBJECT, None, "cuda")[-1]
    found_name, found = kept("throughput", SUBJECT)[-1]
    searches = [record["phases"] for _, record in kept("search_cost", SUBJECT)]
    judged, estimating = settings.slim.images, settings.slim.bn_images
    smallest_s, largest_s = ((judged + estimating) * found["scoring"][name] for name in ("smallest", "largest"))
    largest_ms = 1e3 * min(steps["training"]["largest"]["all_seconds_per_image"])
    images_per_s = NUM_GPUS * 1e3 / largest_ms
    num_judged = [phases["slim"]["num_judged"] for phases in searches if "slim" in phases][-1]
    return PAGE.format(
        gpu=steps["accelerator"],
        precision=steps["setting"]["precision"],
        resolution=steps["setting"]["resolution"],
        batch_size=steps["setting"]["batch_size"],
        steps_record=shown(steps_name),
        epochs=settings.supernet.epochs,
        images=f"{NUM_IMAGES:,}",
        num_gpus=NUM_GPUS,
        training_rows="\n".join(row(kind, steps["training"], settings.supernet.epochs) for kind in KINDS),
        megapixels=found["decoding"]["mean_megapixels"],
        decode_ms=1e3 * found["decoding"]["cpu_seconds_per_image"],
        machine=short_title(found_name.machine),
        record=shown(found_name),
        images_per_s=images_per_s,
        num_cores=images_per_s * found["decoding"]["cpu_seconds_per_image"],
        list_s=found["listing"]["first_cpu_seconds"] * NUM_IMAGES / 1e6,
        again_s=found["listing"]["again_cpu_seconds"] * NUM_IMAGES / 1e6,
        judged=judged,
        estimating=estimating,
        smallest_s=smallest_s,
        largest_s=largest_s,
        num_judged=num_judged,
        descent_hours=num_judged * (smallest_s + largest_s) / 2 / 3600,
        mib=found["checkpoint"]["mib"],
        mib_ema=found["checkpoint"]["mib"] * 4 / 3,
        write_s=found["checkpoint"]["write_seconds"],
        read_s=found["checkpoint"]["read_seconds"],
        share=MOST_OF_TIME,
    )


def row(kind: str, training: dict[str, Any], epochs: int) -> str:
    """Of a kind of steps: the fastest third of them, and what all epochs take at that pace."""
    seconds = sorted(training[kind]["all_seconds_per_image"])
    fastest = seconds[: max(1, len(seconds) // 3)]
    ends = [fastest[0], fastest[-1]]
    hours = [epochs * NUM_IMAGES * end / 3600 for end in ends]
    memory = f"{training[kind]['peak_device_memory_gib']:.1f} GiB"
    per_gpu = [end / NUM_GPUS for end in hours]
    cells = [KINDS[kind], between([1e3 * end for end in ends], 2), memory, between(hours, 0), between(per_gpu, 0)]
    return f"| {' | '.join(cells)} |"


def between(ends: list[float], digits: int) -> str:
    low, high = (f"{end:.{digits}f}" for end in ends)
    return low if low == high else f"{low} to {high}"


def shown(name: Name) -> str:
    return f"benchmarks/records/{name.study}/{name.path.name}"
