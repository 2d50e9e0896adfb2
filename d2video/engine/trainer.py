"""detectron2's DefaultTrainer with video data, evaluators and mixed precision."""

import errno
import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, create_ddp_model
from detectron2.engine.hooks import EvalHook, PeriodicCheckpointer
from detectron2.engine.train_loop import TrainerBase
from detectron2.evaluation import verify_results
from detectron2.modeling import build_model
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from torch import nn

from d2video.checkpoint import VideoCheckpointer
from d2video.config.stored import config_text
from d2video.data import build_test_loader, build_train_loader
from d2video.data.build import clips_of
from d2video.data.class_matching import ClassMatch
from d2video.data.model_records import label_use
from d2video.data.sample_stream import TrainLoader
from d2video.engine.classes import match_training_classes
from d2video.engine.determinism import deterministic_errors
from d2video.engine.hooks.bad_samples import BadSampleHook
from d2video.engine.hooks.checkpoint import CheckpointHook
from d2video.engine.hooks.evaluation import EvaluationHook, StoppedEarly
from d2video.engine.hooks.held_out import HeldOutHook
from d2video.engine.hooks.start_warnings import (
    settings_of,
    warn_of_changes,
    warn_of_frozen_noise,
    warn_of_more_objects,
)
from d2video.engine.hooks.stop_signal import StopOnSignal
from d2video.engine.hooks.weight_average import build_average_hook
from d2video.engine.logs import set_up_logs
from d2video.engine.solver import build_lr_scheduler, build_optimizer, resolve_epochs
from d2video.engine.step import build_step_trainer
from d2video.engine.summary import summarize_training
from d2video.evaluation import build_evaluator, evaluation_folder, match_test_sets
from d2video.structures import class_names_of, set_class_names
from d2video.utils.errors import UserError
from d2video.utils.random_state import kept_random_state, random_state, set_random_state

logger = logging.getLogger(__name__)


def _is_not_user_error(record: logging.LogRecord) -> bool:
    """A user's mistake ends the training with the tool's one line: no traceback before it."""
    return not (record.exc_info and isinstance(record.exc_info[1], UserError))


class VideoTrainer(DefaultTrainer):
    """The trainer of all systems.

    A system is chosen by cfg.MODEL.META_ARCHITECTURE, its data by INPUT.DATASET_MAPPER, its
    evaluator by the dataset's ``evaluator_type``: registering these is all that a project does.
    """

    build_optimizer = staticmethod(build_optimizer)
    build_lr_scheduler = staticmethod(build_lr_scheduler)
    build_train_loader = staticmethod(build_train_loader)
    build_test_loader = staticmethod(build_test_loader)

    def __init__(self, cfg: CfgNode):
        TrainerBase.__init__(self)
        logging.getLogger(TrainerBase.__module__).addFilter(_is_not_user_error)
        if not logger.hasHandlers():
            set_up_logs(rank=comm.get_rank())
        config = config_text(cfg)  # as it was given, for the checkpoints
        cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
        # First the data: a mistake in the test sets shows now, not at the end of the training, and
        # the model can compare its classes with those of the training set.
        loader = self.build_train_loader(cfg)
        cfg = resolve_epochs(cfg, loader.loader.epoch_length)
        for name in cfg.DATASETS.TEST:
            self.build_test_loader(cfg, name)
            self.build_evaluator(cfg, name)
        model = self.build_model(cfg)
        set_class_names(model, clips_of(loader).class_names)
        warn_of_more_objects(cfg, model, loader.object_counts)
        optimizer = self.build_optimizer(cfg, model)
        # DistributedDataParallel wants device ids for GPUs and none for CPUs.
        on_gpu = torch.device(cfg.MODEL.DEVICE).type == "cuda"
        device_ids = [torch.cuda.current_device()] if on_gpu else None
        trained = model
        model = create_ddp_model(
            trained,
            broadcast_buffers=False,
            device_ids=device_ids,
            # Models of several tasks, of which a batch uses one.
            find_unused_parameters=getattr(model, "leaves_parameters_unused", False),
        )
        logger.info("Training\n%s", summarize_training(cfg, model, loader.loader.epoch_length))
        self._trainer = build_step_trainer(cfg, model, loader, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        # After DistributedDataParallel, which gives all processes the same weights.
        self._average_hook = build_average_hook(cfg, trained)
        self.checkpointer = VideoCheckpointer(
            self._average_hook.average if self._average_hook else model,
            cfg.OUTPUT_DIR,
            ignore=cfg.MODEL.WEIGHTS_IGNORE,
            keep=cfg.SOLVER.CHECKPOINT_KEEP,
            config=config,
            trainer=weakref.proxy(self),
        )
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        # Of all processes, in the main one, with the iteration; and of this one, to be restored.
        self._gathered: tuple[int, list[dict[str, Any]]] | None = None
        self._random_state: dict[str, Any] | None = None
        self.register_hooks(self.build_hooks())

    def build_hooks(self) -> list[Any]:
        bad_samples = BadSampleHook(
            lambda: self._trainer.data_loader.bad_samples, self.cfg.DATALOADER.MAX_BAD_SHARE
        )
        hooks = [h for h in super().build_hooks() if not isinstance(h, PeriodicCheckpointer)]
        # Where detectron2 has its own, which saves only what the main process knows.
        place = next(k for k, hook in enumerate(hooks) if isinstance(hook, EvalHook))
        saving = CheckpointHook(self.checkpointer, self.cfg.SOLVER.CHECKPOINT_PERIOD)
        if self.cfg.TEST.EARLY_STOPPING and not self.cfg.DATASETS.TEST:
            raise UserError(
                f"TEST.EARLY_STOPPING is {self.cfg.TEST.EARLY_STOPPING}, but DATASETS.TEST is empty: name "
                "a dataset to evaluate on, or set EARLY_STOPPING 0"
            )
        evaluation = EvaluationHook(
            self.cfg.TEST.EVAL_PERIOD,
            self._evaluate,
            saving,
            metric=self.cfg.TEST.BEST_METRIC,
            mode=self.cfg.TEST.BEST_MODE,
            patience=self.cfg.TEST.EARLY_STOPPING,
        )
        self._held_out = HeldOutHook(self.cfg, self.checkpointer.model, self._trainer.precision)
        hooks[place : place + 1] = [
            *(saving, StopOnSignal(saving.save_now)),
            *(self._held_out, evaluation),
        ]
        # First, so that what they count and compute is written in the same step.
        first = [bad_samples, self._average_hook] if self._average_hook else [bad_samples]
        return [*first, *hooks]

    def _evaluate(self) -> Any:
        self._last_eval_results = self.test(self.cfg, self.checkpointer.model)
        self._held_out.show()
        return self._last_eval_results

    def train(self) -> Any:
        """As detectron2's. A training that no longer gets better ends earlier, see
        :class:`EvaluationHook`."""
        try:
            return super().train()
        except StoppedEarly:
            found = getattr(self, "_last_eval_results", None)  # None: it had ended before
            if found and self.cfg.TEST.EXPECTED_RESULTS:
                verify_results(self.cfg, found)
            return None

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        model = build_model(cfg)
        logger.debug("Model:\n%s", model)
        return model

    @property
    def _loader(self) -> TrainLoader:
        return self._trainer.data_loader.loader

    def resume_or_load(self, resume: bool = True) -> None:
        """As detectron2's; then the labels get the class indices of the model.

        Raises:
            UserError: see :meth:`VideoCheckpointer.load`, :func:`match_training_classes` and
                :func:`match_test_sets`.
        """
        if not resume and self.checkpointer.has_checkpoint():
            logger.warning(
                "OUTPUT_DIR %s holds checkpoints of an earlier training, which this one ignores (--resume "
                "continues it): until this one saves a checkpoint, --resume would load those",
                self.cfg.OUTPUT_DIR,
            )
        super().resume_or_load(resume=resume)
        resumed = resume and self.checkpointer.has_checkpoint()
        model = self.checkpointer.model
        clips = clips_of(self._trainer.data_loader)
        match_training_classes(self.cfg, model, clips, resumed=resumed)
        if class_names_of(model) is not None:
            match_test_sets(self.cfg, model)
        if resume and not resumed:
            logger.warning(
                "--resume: OUTPUT_DIR %s holds no checkpoint, so training starts at the beginning",
                self.cfg.OUTPUT_DIR,
            )
        if resumed and self.start_iter >= self.max_iter:
            logger.warning(
                "--resume: the training in OUTPUT_DIR %s has finished, after %d iterations: to train "
                "longer, raise SOLVER.MAX_ITER or MAX_EPOCHS",
                *(self.cfg.OUTPUT_DIR, self.start_iter),
            )
        if not (resumed or self.cfg.MODEL.WEIGHTS or self.cfg.MODEL.TIMM.PRETRAINED):
            warn_of_frozen_noise(self._trainer.model)

    def gather_random_state(self) -> None:
        """Gather the random state and position in the data of all processes, before a checkpoint."""
        own = random_state(self.cfg.MODEL.DEVICE) | {"loader": self._loader.state_dict()}
        self._gathered = (self.iter, comm.gather(own))

    def state_dict(self) -> dict[str, Any]:
        """As detectron2's, with two more keys; call :meth:`gather_random_state` first.

        "random": of every process the random generators and the place in the data. "settings": see
        :func:`settings_of`.
        """
        assert self._gathered is not None, "gather_random_state comes first"
        iteration, states = self._gathered
        last = min(self.iter, self.max_iter - 1)  # after the training one step less than its number
        assert iteration == last, "gather_random_state was called in an earlier step"
        own = {"iteration": iteration, "random": states, "settings": settings_of(self.cfg)}
        return super().state_dict() | own

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on as if the training had never stopped, if the number of processes is the same; for
        another number see :meth:`TrainLoader.load_state_dicts`.

        Raises:
            AttributeError, KeyError, RuntimeError, TypeError, ValueError: the state of something else.
        """
        iteration = state_dict["iteration"]
        if type(iteration) is not int or iteration < 0:
            raise ValueError(f"its iteration is {iteration}")
        super().load_state_dict(state_dict)
        warn_of_changes(state_dict.get("settings", {}), settings_of(self.cfg))
        states = state_dict.get("random")
        if states is None:
            logger.warning(
                "the checkpoint is from an older version and lacks the random state and the position in "
                "the data: training continues with new ones"
            )
            self._loader.skip(self.iter + 1)
            return
        self._loader.load_state_dicts([state["loader"] for state in states])
        if self._loader.position.batches > iteration + 1:
            raise ValueError(f"it has taken more batches than the {iteration + 1} of its steps")
        if len(states) == comm.get_world_size():
            self._random_state = states[comm.get_rank()]
            with kept_random_state(self.cfg.MODEL.DEVICE):  # whether it can be set shows now
                set_random_state(self._random_state, self.cfg.MODEL.DEVICE)
            return
        logger.warning(
            "the checkpoint was saved by %d processes, this training has %d: it continues with other random "
            "numbers",
            len(states),
            comm.get_world_size(),
        )
        place = [self._loader.seed, self.iter, comm.get_rank()]
        seed_all_rng(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def before_train(self) -> None:
        super().before_train()
        if self._random_state is not None:  # last, since whatever is built before may draw numbers
            set_random_state(self._random_state, self.cfg.MODEL.DEVICE)

    def after_step(self) -> None:
        with self._disk_errors():
            super().after_step()

    def after_train(self) -> None:
        with self._disk_errors():
            super().after_train()

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """A full disk, which logs and metrics often meet first, as a user's mistake."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise
            raise UserError(
                f"cannot write in OUTPUT_DIR {self.cfg.OUTPUT_DIR}: {error.strerror}; earlier "
                "checkpoints are intact: free disk space, then continue with --resume"
            ) from error

    def run_step(self) -> None:
        with deterministic_errors():
            super().run_step()

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: Any = None) -> Any:
        """As detectron2's; its random draws do not change the training around it.

        ``evaluators`` that are given take the model's answers as they are.

        Raises:
            UserError: the classes of a test set, see :func:`match_test_sets`.
        """
        if evaluators is None:
            evaluators = cls.build_evaluators(cfg, model)
        with kept_random_state(cfg.MODEL.DEVICE):
            return super().test(cfg, model, evaluators)

    @classmethod
    def build_evaluators(cls, cfg: CfgNode, model: nn.Module) -> list[Any]:
        """One for each of DATASETS.TEST, all before anything runs: classes are matched by name."""
        matches = zip(cfg.DATASETS.TEST, match_test_sets(cfg, model), strict=True)
        return [cls.build_evaluator(cfg, name, classes) for name, classes in matches]

    @classmethod
    def build_evaluator(
        cls, cfg: CfgNode, dataset_name: str, classes: ClassMatch | None = None
    ) -> Any:
        folder = evaluation_folder(cfg.OUTPUT_DIR, dataset_name)
        return build_evaluator(dataset_name, folder, classes, label_use(cfg))
