"""Runtimes that a worker can run: those that need no PyTorch."""

PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnxruntime"),
    "openvino": ("openvino", "openvino"),
    "mnn": ("MNN", "MNN"),
    "ncnn": ("ncnn", "ncnn"),
    "litert": ("ai_edge_litert", "ai-edge-litert"),
}
"""By runtime: what its package is imported as, and what it is installed as."""
