"""detectron2's checkpointer, reading files safely and refusing weights that do not fit."""

import logging
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer

from d2video.utils.errors import UserError

from .loading import load_checkpoint_file

logger = logging.getLogger(__name__)


class VideoCheckpointer(DetectionCheckpointer):
    """Like :class:`DetectionCheckpointer`, but nothing that does not fit is ignored in silence.

    Accepted are checkpoints of the same model, backbone weights (detectron2 model zoo, converted
    torchvision), and, unless ``strict``, checkpoints that lack some parameters (they are listed).

    Args:
        model, save_dir, checkpointables: as in the base class.
        strict: every parameter must come from the file. For evaluation and prediction.
        ignore: name prefixes of parameters not to load, for fine-tuning on other classes.
    """

    def __init__(
        self,
        model,
        save_dir: str = "",
        *,
        strict: bool = False,
        ignore: tuple[str, ...] = (),
        **checkpointables: Any,
    ):
        super().__init__(model, save_dir, **checkpointables)
        self.strict = strict
        self.ignore = tuple(ignore)
        self._path = ""

    def load(self, path: str, *args: Any, **kwargs: Any) -> Any:
        """As in the base class; ``path`` "" loads nothing.

        Raises:
            UserError: the file is missing or unreadable, or does not fit the model.
        """
        if not path and self.strict:
            raise UserError("no weights: set MODEL.WEIGHTS to a checkpoint of this model")
        self._path = path
        file = path.split("?")[0]  # detectron2 allows "?matching_heuristics=True"
        if path and not self.path_manager.isfile(self.path_manager.get_local_path(file)):
            raise UserError(
                f"checkpoint {path}: no such file; check MODEL.WEIGHTS (in training on several "
                "machines each of them reads it)"
            )
        return super().load(path, *args, **kwargs)

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """As in the base class. A resumed run takes all of its own checkpoint: ``ignore`` is for
        the weights that it started from.

        Raises:
            UserError: see :meth:`load`.
        """
        if resume and self.has_checkpoint():
            self.ignore = ()
        return super().resume_or_load(path, resume=resume)

    def _load_file(self, filename: str) -> dict[str, Any]:
        content = load_checkpoint_file(filename)
        if filename.endswith(".pkl"):
            if "__author__" not in content or "model" not in content:
                raise UserError(
                    f"checkpoint {filename}: not a detectron2 model-zoo file (no 'model' and "
                    "'__author__'): convert it with detectron2's tools first"
                )
            return content
        return content if "model" in content else {"model": content}

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        checkpoint["model"] = {
            name: value
            for name, value in checkpoint["model"].items()
            if not name.startswith(self.ignore)
        }
        names = set(self.model.state_dict())
        incompatible = super()._load_model(checkpoint)
        self._check(names, incompatible)
        return incompatible

    def _check(self, names: set[str], incompatible: Any) -> None:
        wrong = [
            f"{name} {tuple(found)} instead of {tuple(wanted)}"
            for name, found, wanted in incompatible.incorrect_shapes
        ]
        missing = [n for n in incompatible.missing_keys if not n.startswith(self.ignore)]
        missing = sorted(set(missing) - {name for name, *_ in incompatible.incorrect_shapes})
        unexpected = sorted(incompatible.unexpected_keys)
        loaded = names - set(missing)
        where = f"checkpoint {self._path}"
        if wrong:
            raise UserError(
                f"{where}: {len(wrong)} parameters have another shape: {', '.join(wrong[:4])}; set "
                "the config's classes, frames and widths to the checkpoint's, or list prefixes to "
                "train anew in MODEL.WEIGHTS_IGNORE"
            )
        if not loaded:
            raise UserError(
                f"{where}: no parameter fits this model (the file has "
                f"{', '.join(unexpected[:3])}): it belongs to another model; convert it with "
                "tools/convert_checkpoint.py"
            )
        beyond_backbone = any("backbone." not in name for name in loaded)
        if (missing or unexpected) and (self.strict or (beyond_backbone and unexpected)):
            faults = [
                f"{len(found)} {fault} ({', '.join(found[:4])})"
                for fault, found in (("missing", missing), ("unknown", unexpected))
                if found
            ]
            raise UserError(
                f"{where}: not a checkpoint of this model, parameters {' and '.join(faults)}: check "
                "MODEL.META_ARCHITECTURE and the config it was trained with"
            )
        for fault, found in (("start anew", missing), ("of the file are not used", unexpected)):
            if found:
                logger.warning("%s: parameters that %s: %s", where, fault, ", ".join(found))
