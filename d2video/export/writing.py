"""Write graphs and their manifest to files, and check the result."""

import logging
from pathlib import Path

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as symbolic_shapes

import d2video
from d2video.data.class_names import class_names
from d2video.deploy.graphs import open_graphs
from d2video.deploy.manifest import FILE_NAME, GraphEntry, GraphInput, Manifest
from d2video.export.graphs import GraphSpec, export_graphs
from d2video.structures import ClassHead, class_names_of
from d2video.utils.errors import UserError
from d2video.utils.files import open_text

logger = logging.getLogger(__name__)

# Formats of --format, and what runs them.
RUNTIMES = {"onnx": ".onnx", "torch": ".pt2", "aoti": ".pt2"}
# The largest accepted difference of a written graph from the model, relative to values above 1. A larger
# one means that the graph computes something else.
TOLERANCE = 1e-3
# The first with GridSample and GroupNormalization as torch has them.
_OPSET = 20
# Protocol buffers end at 2 GB.
_EXTERNAL_BYTES = 2**31 - 2**24


def write_export(model: nn.Module, cfg: CfgNode, runtime: str, folder: Path) -> dict[str, float]:
    """Write a model's graphs and manifest, and compare each graph with the model.

    Args:
        model: in evaluation mode, on the CPU.
        runtime: one of ``RUNTIMES``.
        folder: created if missing; files of the same names are replaced. The manifest is written last.

    Returns:
        the largest difference of each graph from the model, see ``TOLERANCE``.

    Raises:
        UserError: the model cannot be exported, or a graph differs by more than ``TOLERANCE``.
    """
    offered = export_graphs(model, cfg)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE_NAME).unlink(missing_ok=True)
    entries = {}
    for name, spec in offered.graphs.items():
        # The trace would merge two inputs that are the same tensor.
        assert len({id(each) for each in spec.example.values()}) == len(spec.example), name
        path = folder / f"{name}{RUNTIMES[runtime]}"
        _write_graph(program_of(spec), spec, runtime, path)
        entries[name] = GraphEntry(path.name, _inputs(spec), spec.outputs)
    names = class_names_of(model) or class_names(*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)
    manifest = Manifest(
        model=type(model).__name__,
        runtime=runtime,
        task=offered.task,
        graphs=entries,
        settings=offered.settings,
        min_size=cfg.INPUT.MIN_SIZE_TEST if offered.resizes else 0,
        max_size=cfg.INPUT.MAX_SIZE_TEST if offered.resizes else 0,
        class_names=ClassHead.of(model).of_all(names or ()) or names,
        config=cfg.dump(),
        d2video=d2video.__version__,
    )
    differences = _compare(offered.graphs, folder, manifest)
    with open_text(folder / FILE_NAME) as put:
        put(manifest.to_json())
    return differences


class _Call(nn.Module):
    """A module whose inputs, however many, are one list, as their dynamic sizes are."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.module(*inputs)


def program_of(spec: GraphSpec) -> ExportedProgram:
    """The graph of a module, whose dynamic sizes may be 1 as well."""
    dynamic = tuple(dict.fromkeys(spec.dynamic.get(name, {}), Dim.DYNAMIC) for name in spec.example)
    with (
        torch.no_grad(),
        symbolic_shapes.patch(  # type: ignore[attr-defined]
            backed_size_oblivious=True
        ),
    ):
        inputs = tuple(spec.example.values())
        return torch.export.export(_Call(spec.module), inputs, dynamic_shapes=(dynamic,))


def _write_graph(program: ExportedProgram, spec: GraphSpec, runtime: str, path: Path) -> None:
    if runtime == "torch":
        torch.export.save(program, path)
    elif runtime == "aoti":
        torch._inductor.aoti_compile_and_package(program, package_path=str(path))
    else:
        written = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=_OPSET,
            input_names=[*spec.example],
            output_names=spec.outputs,
            verbose=False,
        )
        assert written is not None
        state = spec.module.state_dict().values()
        size = sum(each.numel() * each.element_size() for each in state)
        written.save(path, external_data=size > _EXTERNAL_BYTES)


def _inputs(spec: GraphSpec) -> list[GraphInput]:
    inputs = []
    for name, tensor in spec.example.items():
        names = spec.dynamic.get(name, {})
        shape = [names.get(axis, size) for axis, size in enumerate(tensor.shape)]
        inputs.append(GraphInput(name, str(tensor.dtype).removeprefix("torch."), shape))
    return inputs


def _compare(graphs: dict[str, GraphSpec], folder: Path, manifest: Manifest) -> dict[str, float]:
    """The largest differences of the written graphs from the modules, see ``TOLERANCE``."""
    written = open_graphs(folder, manifest, "cpu", torch.get_num_threads())
    differences = {}
    for name, spec in graphs.items():
        differing = []
        for inputs in (spec.check, *spec.more_checks):
            with torch.no_grad():
                expected = spec.module(*inputs.values())
            found = written[name](**{key: value.numpy() for key, value in inputs.items()})
            for output, value in zip(spec.outputs, expected, strict=True):
                if found[output].shape != value.shape:
                    raise UserError(
                        f"{folder}: the graph '{name}' gives '{output}' in shape {found[output].shape}, "
                        f"the model in {tuple(value.shape)}: another version of torch or of "
                        "onnxruntime may help"
                    )
                difference = torch.from_numpy(found[output]).double() - value.double()
                scale = value.double().abs().max().clamp(min=1)
                differing.append(difference.abs().max() / scale)
        largest = float(torch.stack(differing).max())  # NaN if any is
        if not largest <= TOLERANCE:
            raise UserError(
                f"{folder}: the graph '{name}' differs from the model by {largest:.2g}, more than "
                f"{TOLERANCE}: another version of torch or of onnxruntime may help"
            )
        differences[name] = largest
    return differences
