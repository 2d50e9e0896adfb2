"""What a deployed model does around its graphs: the base of the tasks."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from d2video.deploy.answers import Found
from d2video.deploy.graphs import Graph, load_class
from d2video.deploy.manifest import Manifest
from d2video.deploy.pixels import resize_shortest_edge
from d2video.utils.errors import UserError

# Where the class that a manifest names may lie: a manifest is data, and must not run any other code.
_PLACES = ("d2video.deploy.", "d2video.projects.")


class DeployedTask(ABC):
    """Answers frames by the graphs of a model, in numpy.

    A project may bring its task: the manifest names it.

    Args:
        graphs: by name.
        manifest: of the model. Its settings are the arguments ``settings``.
    """

    def __init__(self, graphs: Mapping[str, Graph], manifest: Manifest, **settings: Any):
        assert not settings, settings
        self.graphs = graphs
        self.manifest = manifest

    @abstractmethod
    def stream(self, images: Iterable[np.ndarray]) -> Iterator[Found]:
        """Answer the frames of a video, uint8 (H, W, 3), in order. What is known of the video lives in
        the iterator."""

    def answer_image(self, image: np.ndarray) -> Found:
        """Answer an image, uint8 (H, W, 3): a video of one frame."""
        (found,) = self.stream([image])
        return found

    def prepared(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) to what the network takes: resized, (3, h, w)."""
        resized = resize_shortest_edge(image, self.manifest.min_size, self.manifest.max_size)
        return resized.transpose(2, 0, 1)


def build_task(graphs: Mapping[str, Graph], manifest: Manifest) -> DeployedTask:
    """The task that a manifest names.

    Raises:
        UserError: it names a class elsewhere.
    """
    if not manifest.task.startswith(_PLACES):
        raise UserError(
            f"the manifest's task '{manifest.task}' is not one of d2video's: do not run this model"
        )
    try:
        task = load_class(manifest.task)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"the manifest's task '{manifest.task}' is not there ({error}): install the d2video that "
            "exported the model"
        ) from error
    return task(graphs, manifest, **manifest.settings)
