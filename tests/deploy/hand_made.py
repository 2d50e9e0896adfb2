"""A deployed model without a network: its graph gives every frame's mean, its task finds one object."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from d2video.deploy.manifest import FILE_NAME, GraphEntry, GraphInput, Manifest


def write(folder: Path, **changes) -> Path:
    """An export of the form of DETR's, whose boxes and probabilities are constants."""
    folder.mkdir(exist_ok=True)
    frames = helper.make_tensor_value_info("frames", TensorProto.UINT8, [None, 3, None, None])
    outputs = {"probabilities": [[[0.9, 0.1], [0.2, 0.3]]], "boxes": [[[0.5] * 4, [0.1] * 4]]}
    nodes = []
    for name, values in outputs.items():
        flat = [x for row in values[0] for x in row]
        shape = [1, len(values[0]), len(values[0][0])]
        value = helper.make_tensor(name, TensorProto.FLOAT, shape, flat)
        nodes.append(helper.make_node("Constant", [], [name], value=value))
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "detect", [frames], infos)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / "detect.onnx")
    inputs = [GraphInput("frames", "uint8", ["batch", 3, "height", "width"])]
    content = {
        "model": "DETR",
        "runtime": "onnx",
        "task": "d2video.deploy.detections:Detection",
        "graphs": {"detect": GraphEntry("detect.onnx", inputs, [*outputs])},
        "settings": {"score_threshold": 0.5, "panoptic": None},
        "min_size": 8,
        "max_size": 0,
        "class_names": ["cat", ""],
        "config": "",
        "d2video": "0",
    }
    (folder / FILE_NAME).write_text(Manifest(**(content | changes)).to_json())
    return folder
