"""detectron2's checkpointer, reading files safely and refusing weights that do not fit."""

import logging
import os
from pathlib import Path
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils import comm

from d2video.checkpoint.about import CLASS_NAMES, about_model
from d2video.checkpoint.convert import published_class_names
from d2video.checkpoint.hub_config import hub_class_names
from d2video.checkpoint.loading import (
    STATE_KEYS,
    class_names_in,
    holds_nan,
    load_checkpoint_file,
    state_dict_of,
)
from d2video.checkpoint.recognition import describe_origin, foreign_file
from d2video.checkpoint.run_folder import (
    POINTER,
    checkpoints_in,
    read_newest,
    remove_old,
    remove_partial,
    write_pointer,
)
from d2video.checkpoint.writing import write_checkpoint
from d2video.fetching import fetch, shown
from d2video.structures import ClassHead, class_names_of, set_class_names
from d2video.utils.errors import BrokenCheckpoint, UserError

logger = logging.getLogger(__name__)

# How state of another model or run fails to load, in torch and in the classes that are saved.
_UNFIT = (
    *(AttributeError, IndexError, KeyError, NotImplementedError),
    *(RuntimeError, TypeError, ValueError),
)


def _is_count_of_frozen_norm(name: str, names: set[str]) -> bool:
    """Whether this is the number of batches that a BatchNorm has seen, of one which is frozen in the model
    with parameters ``names``."""
    norm, _, what = name.rpartition(".")
    return what == "num_batches_tracked" and name not in names and f"{norm}.running_var" in names


class VideoCheckpointer(DetectionCheckpointer):
    """A :class:`DetectionCheckpointer` that reports what does not fit, runs no code in a file, and
    loses nothing that was saved.

    It takes checkpoints of the same model (``.pth`` or ``.safetensors``), files of other implementations
    in the formats of :data:`~d2video.checkpoint.CONVERTER_REGISTRY`, recognised by their names, backbone
    weights (detectron2's model zoo, torchvision, timm) and, unless ``strict``, checkpoints that lack some
    parameters, which it lists.

    What explains the model is kept with it: its config, metrics (see :mod:`d2video.checkpoint.about`), and
    the names of its classes by row of its class head. :meth:`load` sets those
    of the model (:func:`~d2video.structures.class_names_of`) if parameters of its class head come from
    a file that has names.

    Args:
        model, save_dir, checkpointables: as in the base class.
        strict: every parameter must come from the file. For evaluation and prediction.
        ignore: name prefixes of parameters not to load, for fine-tuning on other classes.
        keep: how many numbered checkpoints :meth:`save` leaves, the last written; 0: all.
        config: text of the model's config, to be written; "": none.

    Attributes:
        metrics: to be written: what evaluations have found of the model.
    """

    def __init__(
        self,
        model,
        save_dir: str = "",
        *,
        strict: bool = False,
        ignore: tuple[str, ...] = (),
        keep: int = 0,
        config: str = "",
        **checkpointables: Any,
    ):
        super().__init__(model, save_dir, **checkpointables)
        if keep < 0:
            raise UserError(f"SOLVER.CHECKPOINT_KEEP is {keep}: set 0 (all) or more")
        self.strict = strict
        self.ignore = tuple(ignore)
        self.keep = keep
        self.config = config
        self.metrics: dict[str, Any] = {}
        self._path = ""
        self._resumes = False
        self._origin = ""  # what the file is, if it is not one of this model
        self._is_foreign = False
        self._damaged: frozenset[Path] = frozenset()

    # ---- writing --------------------------------------------------------------------------------

    def save(self, name: str, **kwargs: Any) -> None:
        """Write ``<name>.pth``, then ``last_checkpoint``, then remove what :attr:`keep` leaves out.

        Each is there whole or as before, whenever the process or the machine stops.

        Args:
            name, kwargs: as in the base class.

        Raises:
            UserError: the disk is full or cannot be written (what was saved before is unchanged), or
                something to be saved could not be loaded again.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        states = {key: each.state_dict() for key, each in self.checkpointables.items()}
        path = self._write(name, states | kwargs)
        write_pointer(path.parent, path.name)
        if self.keep:
            remove_old(path.parent, self.keep, newest=path, damaged=self._damaged - {path})

    def save_model(self, name: str, **kwargs: Any) -> None:
        """Write the model without what only a training goes on from; as :meth:`save` else.

        Such a file is never resumed from and never removed.
        """
        if self.save_dir and self.save_to_disk:
            self._write(name, kwargs)

    def _write(self, name: str, more: dict[str, Any]) -> Path:
        path = Path(self.save_dir) / f"{name}.pth"
        names = class_names_of(self.model)
        by_row = None if names is None else ClassHead.of(self.model).by_row(names)
        logger.info("Saving checkpoint to %s", path)
        remove_partial(path.parent)
        known = about_model(type(self.model).__name__, self.config, self.metrics)
        write_checkpoint({"model": self.model.state_dict(), **more}, path, by_row, known)
        return path

    # ---- finding --------------------------------------------------------------------------------

    def has_checkpoint(self) -> bool:
        """Whether the folder has something to resume from, though it may turn out to be damaged."""
        if not self.save_dir:
            return False
        folder = Path(self.save_dir)
        return (folder / POINTER).exists() or bool(checkpoints_in(folder))

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """As in the base class. A resumed run takes all of its own checkpoint: ``ignore`` is for
        the weights that it started from. Where the newest file is damaged, the newest good one is
        taken, with a warning. The main process decides for all: call it in every process.

        Raises:
            UserError: see :meth:`load`; or there are checkpoints to resume from, all damaged.
        """
        file, content = self._newest() if resume else ("", None)
        if not file:
            return self.load(path, checkpointables=[])
        self.ignore, self._resumes = (), True
        if content is None:
            content = self._load_file(self._local(file))
        return self._take(file, content, list(self.checkpointables))

    def _newest(self) -> tuple[str, dict[str, Any] | None]:
        """The file to resume from ("": none), the same in all processes, and its content if this
        process has read it."""
        file, content, fault = "", None, ""
        if comm.is_main_process() and self.save_dir:
            try:
                if found := read_newest(Path(self.save_dir), self._load_file):
                    file, content = str(found.path), found.content
                    self._damaged = found.damaged
            except UserError as error:
                fault = str(error)
        # Gathered in either case, so that the other processes do not wait for one that has stopped.
        file, fault = comm.all_gather((file, fault))[0]
        if fault:
            raise UserError(fault)
        return file, content

    # ---- loading --------------------------------------------------------------------------------

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """As in the base class; ``path`` "" loads nothing.

        Raises:
            UserError: the file is missing or unreadable, or does not fit the model or, of what else
                is loaded, the run.
        """
        if not path:
            if self.strict:
                raise UserError("no weights: set MODEL.WEIGHTS to a checkpoint of this model")
            return {}
        wanted = list(self.checkpointables) if checkpointables is None else checkpointables
        return self._take(path, self._load_file(self._local(path)), wanted)

    def _take(self, path: str, content: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
        """Load the model and the ``wanted`` checkpointables; the rest of the content is returned."""
        self._path = shown(path)
        logger.info("Loading %s", self._path)
        self._adopt(content)
        for key in wanted:
            if key not in content:
                raise UserError(
                    f"checkpoint {self._path}: it holds no '{key}', so that no training can go on from "
                    "it: name it in MODEL.WEIGHTS and start without --resume in another OUTPUT_DIR"
                )
        self._load_model(content)
        for key in wanted:
            try:
                self.checkpointables[key].load_state_dict(content.pop(key))
            except _UNFIT as error:
                raise self._unfit(f"its '{key}' is not of this run", error) from error
        return content

    def _local(self, path: str) -> str:
        """The file of a path or address, fetched if need be."""
        # detectron2 allows "?matching_heuristics=True".
        file = str(fetch(path.removesuffix("?matching_heuristics=True")))
        if not os.path.isfile(file):
            fault = "it is a folder: name a file in it" if os.path.isdir(file) else "no such file"
            raise UserError(
                f"checkpoint {shown(path)}: {fault}; check MODEL.WEIGHTS (in training on several machines "
                "each of them reads it)"
            )
        return file

    def _unfit(self, what: str, error: Exception) -> UserError:
        logger.debug("checkpoint %s", self._path, exc_info=error)
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        return self._error(
            f"{what} ({reason}): check MODEL.META_ARCHITECTURE and the config it was trained with"
        )

    def _error(self, fault: str) -> UserError:
        """That a file of another model is one says more than what does not fit."""
        return UserError(f"checkpoint {self._path}: {self._origin or fault}")

    def _load_file(self, filename: str) -> dict[str, Any]:
        content = load_checkpoint_file(filename)
        zoo = filename.endswith(".pkl")
        if zoo and ("__author__" not in content or "model" not in content):
            raise UserError(
                f"checkpoint {filename}: not a detectron2 model-zoo file (no 'model' and "
                "'__author__'): convert it with detectron2's tools first"
            )
        state = state_dict_of(content, filename, arrays=zoo)
        broken = [name for name, value in state.items() if holds_nan(value)]
        if broken:
            raise BrokenCheckpoint(
                f"checkpoint {filename}: {len(broken)} of its {len(state)} parameters hold NaN, such as "
                f"{broken[0]}: the training that wrote it diverged; take an earlier checkpoint"
            )
        is_bare = STATE_KEYS.isdisjoint(content)
        content = {"model": state} if is_bare else {**content, "model": state}
        if CLASS_NAMES not in content:
            content[CLASS_NAMES] = hub_class_names(filename, ClassHead.of(self.model))
        return content

    def _adopt(self, content: dict[str, Any]) -> None:
        """Give the parameters of a foreign file the model's names, and say so."""
        self._origin, self._is_foreign = "", False
        architecture = type(self.model).__name__
        model = self.model.state_dict()
        try:
            found = foreign_file(content, architecture, model)
            if found is None:
                self._origin = describe_origin(content, architecture)
                return
            content["model"], done = found.renamed(model)
        except UserError as error:
            raise UserError(f"checkpoint {self._path}: {error}") from error
        self._is_foreign = True
        if content[CLASS_NAMES] is None:
            head = ClassHead.of(self.model)
            content[CLASS_NAMES] = published_class_names(content["model"], head, found.format)
        logger.info("%s: %s", self._path, done)

    def _load_model(self, checkpoint: dict[str, Any]) -> None:
        names = set(self.model.state_dict())
        for prefix in self.ignore:
            if not any(name.startswith(prefix) for name in names.union(checkpoint["model"])):
                raise UserError(
                    f"MODEL.WEIGHTS_IGNORE holds '{prefix}', with which no parameter of the model or of "
                    f"{self._path} begins: give the beginning of names such as {min(names)}"
                )
        checkpoint["model"] = {
            name: value
            for name, value in checkpoint["model"].items()
            if not name.startswith(self.ignore) and not _is_count_of_frozen_norm(name, names)
        }
        try:
            incompatible = super()._load_model(checkpoint)
        except _UNFIT as error:
            raise self._unfit("its parameters do not fit", error) from error
        self._check(names, incompatible)
        class_names, head = class_names_in(checkpoint, self._path), ClassHead.of(self.model)
        loaded = names.difference(incompatible.missing_keys)
        if not head.is_among(loaded, names):
            return
        if class_names is not None:
            set_class_names(self.model, head.by_index(class_names))
        elif head.parameters:
            # No file of others has any.
            logger.log(
                logging.INFO if self._is_foreign else logging.WARNING,
                "checkpoint %s has no class names: its classes are taken for those of DATASETS.TRAIN, in "
                "the order of the first set's",
                self._path,
            )

    def _check(self, names: set[str], incompatible: Any) -> None:
        where = f"checkpoint {self._path}"
        if incompatible.incorrect_shapes:
            wrong = [
                f"{name} {tuple(found)} instead of {tuple(wanted)}"
                for name, found, wanted in incompatible.incorrect_shapes
            ]
            remedy = "list prefixes to train anew in MODEL.WEIGHTS_IGNORE"
            if self._resumes:
                remedy = (
                    "start another training from it, without --resume: MODEL.WEIGHTS (this file), "
                    "MODEL.WEIGHTS_IGNORE (prefixes to train anew) and another OUTPUT_DIR"
                )
            raise self._error(
                f"{len(wrong)} parameters have another shape: {', '.join(wrong[:4])}; set the "
                f"config's classes, frames and widths to the checkpoint's, or {remedy}"
            )
        missing = sorted(n for n in incompatible.missing_keys if not n.startswith(self.ignore))
        unexpected = sorted(incompatible.unexpected_keys)
        loaded = names - set(missing)
        if not loaded:
            raise self._error(
                f"no parameter fits this model (the file has {', '.join(unexpected[:3])}): it belongs "
                "to another model, or to another implementation whose format is not known"
            )
        beyond_backbone = any("backbone." not in name for name in loaded)
        of_another = beyond_backbone or self._origin
        if (missing or unexpected) and (self.strict or (of_another and unexpected)):
            faults = [
                f"{len(found)} {fault} ({', '.join(found[:4])})"
                for fault, found in (("missing", missing), ("unknown", unexpected))
                if found
            ]
            raise self._error(
                f"not a checkpoint of this model, parameters {' and '.join(faults)}: check "
                "MODEL.META_ARCHITECTURE and the config it was trained with"
            )
        for fault, found in (
            ("are newly initialised", missing),
            ("of the file are not used", unexpected),
        ):
            if found:
                logger.warning("%s: parameters that %s: %s", where, fault, ", ".join(found))
