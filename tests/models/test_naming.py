"""Foreign names, written down apart from the importer and checked against golden hashes where there are some."""

import functools
import hashlib
import random
import re

import pytest
import timm
import torch

from efficientformer.arch.spec import MB3D, Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import RecordError
from efficientformer.models.create import create_model
from efficientformer.models.weights.naming import our_names

MLP_NAMES = {"fc1": "convolution1", "norm1": "batchnorm_before", "fc2": "convolution2", "norm2": "batchnorm_after"}


def split_block(name: str, architecture: Architecture) -> tuple[int, int, bool, str] | None:
    """(stage, block, whether it is an MB3D, rest of the name), or None outside blocks."""
    if not (match := re.match(r"stages\.(\d)\.blocks\.(\d+)\.(.*)", name)):
        return None
    stage, block = int(match[1]), int(match[2])
    rest = match[3].replace("attention_bias", "attention_biases")
    return stage, block, isinstance(architecture.stages[stage].blocks[block], MB3D), rest


def transformers_name(name: str, architecture: Architecture) -> str:
    first, _, rest = name.partition(".")
    if first in ("head", "head_dist"):
        return {"head": "classifier.", "head_dist": "distillation_classifier."}[first] + rest
    if first == "norm":
        return "efficientformer.layernorm." + rest
    if first == "stem":
        layer, _, leaf = rest.partition(".")
        names = {"conv1": "convolution1", "norm1": "batchnorm_before", "conv2": "convolution2"}
        return f"efficientformer.patch_embed.{names.get(layer, 'batchnorm_after')}.{leaf}"
    if not (parts := split_block(name, architecture)):
        stage, _, layer, leaf = rest.split(".")
        kind = {"conv": "projection", "norm": "norm"}[layer]
        return f"efficientformer.encoder.intermediate_stages.{2 * int(stage) - 1}.{kind}.{leaf}"
    stage, block, is_mb3d, rest = parts
    where = "last_stage" if stage == 3 else f"intermediate_stages.{2 * stage}"
    if is_mb3d:
        block -= architecture.stages[stage].depth - architecture.stages[stage].num_on_tokens
        rest = re.sub(r"^norm([12])", r"layernorm\1", rest)
        rest = rest.replace("mlp.fc1", "mlp.linear_in").replace("mlp.fc2", "mlp.linear_out")
        rest = rest.replace("token_mixer.proj.", "token_mixer.projection.")
        return f"efficientformer.encoder.{where}.meta3D_layers.blocks.{block}.{rest}"
    rest = re.sub(r"^mlp\.(\w+)", lambda match: f"mlp.{MLP_NAMES[match[1]]}", rest)
    return f"efficientformer.encoder.{where}.meta4D_layers.blocks.{block}.{rest}"


def mmpretrain_name(name: str, architecture: Architecture) -> str:
    first, _, rest = name.partition(".")
    if first in ("head", "head_dist"):
        return {"head": "head.head.", "head_dist": "head.dist_head."}[first] + rest
    if first == "norm":
        return "backbone.norm3." + rest
    if first == "stem":
        layer, _, leaf = rest.partition(".")
        return f"backbone.patch_embed.{int(layer[-1]) - 1}.{'conv' if layer.startswith('conv') else 'bn'}.{leaf}"
    if not (parts := split_block(name, architecture)):
        stage, _, layer, leaf = rest.split(".")
        return f"backbone.network.{stage}.0.{'conv' if layer == 'conv' else 'bn'}.{leaf}"
    stage, block, is_mb3d, rest = parts
    rest = re.sub(r"^layer_scale_([12])$", r"ls\1.weight", rest)
    return f"backbone.network.{stage}.{block + (stage > 0) + is_mb3d}.{rest}"


@functools.cache
def our_keys(name: str) -> list[str]:
    with torch.device("meta"):
        return list(create_model(name, has_distillation_head=True).state_dict())


def check_recognized(theirs_to_ours: dict[str, str], seed: int) -> None:
    """The importer finds our names, in whatever order theirs come and with tables of distances among them."""
    shuffled = list(theirs_to_ours)
    random.Random(seed).shuffle(shuffled)
    tables = [name.replace("attention_biases", "attention_bias_idxs") for name in shuffled if "attention_b" in name]
    assert our_names(tables + shuffled) == theirs_to_ours
    assert our_names(sorted(shuffled)) == theirs_to_ours


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ZOO)
def test_official_transformers_and_mmpretrain(name, seed, official_name):
    """Transformers and MMPreTrain have the first family only."""
    only_v1 = () if ZOO[name].is_v2 else (transformers_name, mmpretrain_name)
    for foreign_name in (official_name, *only_v1):
        theirs = {foreign_name(ours, ZOO[name]): ours for ours in our_keys(name)}
        assert len(theirs) == len(our_keys(name))
        check_recognized(theirs, seed)


@pytest.mark.parametrize("name", ZOO)
def test_timm(name):
    with torch.device("meta"):
        theirs = timm.create_model(name).state_dict()
    assert set(our_names(theirs).values()) == set(our_keys(name))
    assert our_names(theirs) == our_names(sorted(theirs, reverse=True))
    if ZOO[name].is_v2:
        return
    # The flatten takes a number of its own: timm's last block stands one further than ours.
    depth = ZOO[name].stages[3].depth
    assert our_names(theirs)[f"stages.3.blocks.{depth}.ls1.gamma"] == f"stages.3.blocks.{depth - 1}.layer_scale_1"


def test_transformers_names_are_the_golden_ones(golden):
    keys = [transformers_name(key, ZOO["efficientformer_l1"]) for key in our_keys("efficientformer_l1")]
    keys += [key.replace("attention_biases", "attention_bias_idxs") for key in keys if "attention_biases" in key]
    expected = golden["efficientformer_l1"]["key_sha256"]["hf"]
    assert hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest() == expected


def test_a_bare_mmpretrain_backbone():
    names = [mmpretrain_name(ours, ZOO["efficientformer_l1"]) for ours in our_keys("efficientformer_l1")]
    bare = [name.removeprefix("backbone.") for name in names if name.startswith("backbone.")]
    expected = {ours for ours in our_keys("efficientformer_l1") if not ours.startswith("head")}
    assert set(our_names(bare).values()) == expected


@pytest.mark.parametrize("name", ["efficientformer_l3", "efficientformerv2_s0"])
def test_our_own_names_stay(name):
    keys = our_keys(name)
    assert our_names(keys) == {key: key for key in keys}


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["conv1.weight", "fc.bias"], "not EfficientFormer weights"),
        ([], "not EfficientFormer weights"),
    ],
)
def test_unknown_names(names, says):
    with pytest.raises(RecordError, match=says):
        our_names(names)
