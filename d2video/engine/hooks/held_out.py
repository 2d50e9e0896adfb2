"""What a training shows of fixed held-out samples: their losses, how they are matched, and pictures."""

import logging
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.evaluation import inference_context
from detectron2.utils import comm
from detectron2.utils.events import EventStorage, get_event_storage
from PIL import Image
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from d2video.data.held_out_samples import HeldOutSamples
from d2video.inference.beside_labels import draw_beside_labels
from d2video.modeling.matching_statistics import MatchingStatistics, matching_figures
from d2video.modeling.set_prediction import SetPredictionModel
from d2video.report.run import HELD_OUT, picture_path
from d2video.structures import ClassHead, class_names_of
from d2video.utils.errors import UserError
from d2video.utils.files import replace_on_success
from d2video.utils.random_state import kept_random_state

logger = logging.getLogger(__name__)

# Attributes of modules that draw numbers in training mode without a module for it.
_DRAWING = ("dropout", "attn_drop", "drop_prob")


class HeldOutHook(HookBase):
    """Losses and pictures of a few samples of each test set, when :meth:`show` is called.

    The samples are the same each time, and so are all random draws; neither those of the training nor its
    metrics change. The losses are those of the training, weighted, averaged over all processes: without
    gradients, dropout and augmentation, with the running statistics of batch normalisation. They become
    the scalars "held_out/total_loss", "held_out/loss_ce" …, beside the figures of
    :func:`~d2video.modeling.matching_statistics.matching_figures`; of several test sets with
    "<dataset>/" in front. Pictures are drawn in the main process.

    Test sets without labels are left out, and the log says why. Register it in all processes, before the
    hooks that evaluate.
    """

    def __init__(self, cfg: CfgNode, model: nn.Module, precision: torch.dtype | None = None):
        """
        Args:
            cfg: of the training; see TEST.HELD_OUT and TEST.VISUALIZE.
            model: the one that is evaluated; perhaps in DistributedDataParallel.
            precision: of autocast; None: no autocast.
        """
        self._cfg = cfg
        self._model = getattr(model, "module", model)
        self._precision = precision
        self._samples: dict[str, HeldOutSamples] = {}
        # By dataset: of each process the matched queries of the last time.
        self._matched: dict[str, list[list[int]]] = {}

    def before_train(self) -> None:
        batch = self._cfg.SOLVER.IMS_PER_BATCH
        pictures = self._cfg.TEST.VISUALIZE.NUM_SAMPLES
        wanted = self._cfg.TEST.HELD_OUT.NUM_SAMPLES
        count = max(1, wanted // batch) * batch if wanted else pictures
        if not count:
            return
        for name in self._cfg.DATASETS.TEST:
            try:
                with kept_random_state(self._cfg.MODEL.DEVICE):
                    self._samples[name] = HeldOutSamples(
                        self._cfg, name, count, batch, class_names_of(self._model)
                    )
            except UserError as error:
                logger.info("No losses or pictures of held-out samples: %s", error)

    def show(self) -> None:
        """Compute and draw; in all processes alike."""
        for name, samples in self._samples.items():
            prefix = f"{name}/{HELD_OUT}" if len(self._cfg.DATASETS.TEST) > 1 else HELD_OUT
            if self._cfg.TEST.HELD_OUT.NUM_SAMPLES:
                figures = self._figures(name, samples)
                get_event_storage().put_scalars(
                    smoothing_hint=False, **{prefix + key: value for key, value in figures.items()}
                )
            if comm.is_main_process():
                self._draw(name, samples)

    def state_dict(self) -> dict[str, Any]:
        return {"matched": self._matched} if self._matched else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """
        Raises:
            KeyError, TypeError, ValueError: the state of something else.
        """
        for matched in state["matched"].values():
            if any(type(query) is not int for queries in matched for query in queries):
                raise ValueError("its matched queries are not numbers")
        self._matched = state["matched"]

    @torch.no_grad()
    def _figures(self, name: str, samples: HeldOutSamples) -> dict[str, float]:
        """The losses of a dataset's samples, and how they are matched."""
        device = torch.device(self._cfg.MODEL.DEVICE)
        statistics = MatchingStatistics()
        sums: defaultdict[str, list[float]] = defaultdict(list)
        with (
            kept_random_state(device),
            _losses_without_noise(self._model),
            _matches_noted(self._model, statistics),
            EventStorage(),  # the metrics that the model logs are not of the training
            torch.autocast(device.type, self._precision, enabled=self._precision is not None),
        ):
            for number, batch in enumerate(samples.batches()):
                _seed(number)
                losses = self._losses(batch)
                sums["total_loss"].append(sum(losses.values()))
                for key, value in losses.items():
                    if not key.rpartition("_")[2].isdigit():  # those of the last decoder layer
                        sums[key].append(value)
        everywhere = comm.all_gather((dict(sums), statistics))
        figures = {}
        for key in everywhere[0][0]:
            figures[key] = float(np.mean([value for each, _ in everywhere for value in each[key]]))
        gathered = [each for _, each in everywhere]
        figures |= matching_figures(gathered, self._matched.get(name))
        if any(each.queries for each in gathered):
            self._matched[name] = [each.queries for each in gathered]
        return figures

    def _losses(self, batch: list[dict[str, Any]]) -> dict[str, float]:
        return {key: float(value) for key, value in self._model(batch).items()}

    def _draw(self, name: str, samples: HeldOutSamples) -> None:
        test = self._cfg.TEST.VISUALIZE
        task: Any = getattr(self._model, "task", None)
        if not test.NUM_SAMPLES or task is None:
            return
        names = samples.class_names
        names = ClassHead.of(self._model).of_all(names or ()) or names
        storage = get_event_storage()
        with kept_random_state(self._cfg.MODEL.DEVICE), inference_context(self._model):
            for number, sample in enumerate(samples.spread(test.NUM_SAMPLES)):
                try:
                    picture, title = draw_beside_labels(
                        *(self._model, task, sample, names),
                        image_format=self._cfg.INPUT.FORMAT,
                        score_threshold=test.SCORE_THRESHOLD,
                    )
                except UserError as error:  # samples without pictures, such as features
                    logger.info("No pictures of held-out samples: %s", error)
                    return
                storage.put_image(f"{name}/{number}_{title}", np.moveaxis(picture, 2, 0))
                path = picture_path(self._cfg.OUTPUT_DIR, name, number)
                with replace_on_success(path) as partial:
                    Image.fromarray(picture).save(partial, quality=90)


@contextmanager
def _losses_without_noise(model: nn.Module) -> Iterator[None]:
    """In training mode, so that the model answers with losses, but for the layers that behave otherwise in
    training: dropout and batch normalisation."""
    modes = {module: module.training for module in model.modules()}
    model.train()
    for module in model.modules():
        # The mode of the model itself decides whether it answers with losses.
        draws = any(hasattr(module, name) for name in _DRAWING)
        if module is not model and (draws or isinstance(module, _DropoutNd | _NormBase)):
            module.training = False
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _matches_noted(model: nn.Module, statistics: MatchingStatistics) -> Iterator[None]:
    if not isinstance(model, SetPredictionModel):
        yield
        return
    model.statistics = statistics
    try:
        yield
    finally:
        model.statistics = None


def _seed(number: int) -> None:
    """Seed all global generators for a batch."""
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)
