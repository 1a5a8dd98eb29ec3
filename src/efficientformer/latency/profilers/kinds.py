"""Families of operators, by the names that ONNX, ONNX Runtime, OpenVINO and PyTorch give to their types."""

from typing import Literal

Family = Literal[
    "convolution", "product", "attention", "normalization", "activation", "pooling", "reshape", "elementwise"
]
COMPUTING: tuple[Family, ...] = ("convolution", "product")
"""Families that a runtime names after, whatever else it joins to them."""

_NAMES: dict[Family, str] = {
    "convolution": "conv convinteger qlinearconv fusedconv nhwcfusedconv groupconvolution convolution conv1d conv2d",
    "product": "matmul gemm fusedmatmul fusedgemm matmulinteger fullyconnected linear addmm bmm baddbmm mm einsum",
    "attention": (
        "softmax attention multiheadattention fusedattention sdpa scaleddotproductattention mha scaledattn _softmax"
    ),
    "normalization": (
        "layernormalization skiplayernormalization simplifiedlayernormalization batchnormalization "
        "instancenormalization groupnormalization groupnorm lpnormalization mvn normalizel2 rms layernorm batchnorm "
        "instancenorm skipgroupnorm"
    ),
    "activation": (
        "relu relu6 clip clamp leakyrelu prelu elu gelu fastgelu biasgelu quickgelu erf sigmoid hardsigmoid hardswish "
        "hswish silu swish tanh mish hsigmoid hardtanh"
    ),
    "pooling": (
        "averagepool maxpool globalaveragepool globalmaxpool avgpool pooling reducemean reduce mean avgpool2d "
        "maxpool2d adaptiveavgpool2d"
    ),
    "reshape": (
        "reshape transpose split variadicsplit concat concatenation slice stridedslice gather squeeze unsqueeze "
        "flatten expand reorder reorderinput reorderoutput permute contiguous unbind unflatten chunk cat select view "
        "roll pad resize interpolate depthtospace tile expandas clone copy stack broadcast convert cast to "
        "splitwithsizes indexselect"
    ),
    "elementwise": "add sub mul div sqrt pow subtract multiply divide eltwise sum neg rsub",
}
_FAMILIES: dict[str, Family] = {name: family for family, names in _NAMES.items() for name in names.split()}


def family_of(kind: str) -> Family | None:
    """The family of an operator type such as "Conv", "aten::gelu_" or "Multiply_1234"; None for an unknown one."""
    bare = kind.rpartition("::")[2].lower()
    stem, _, number = bare.rpartition("_")
    if number.isdigit():
        bare = stem
    return _FAMILIES.get(bare.replace("_", "")) or _FAMILIES.get(bare)
