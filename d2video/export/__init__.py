"""Models as graphs that run without d2video: ONNX files and programs of torch.export."""

from d2video.export.graphs import Graphs, GraphSpec, export_graphs
from d2video.export.writing import RUNTIMES, write_export

__all__ = ["RUNTIMES", "GraphSpec", "Graphs", "export_graphs", "write_export"]
