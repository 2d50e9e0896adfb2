"""Base class of all evaluators, which gathers what counts of each answer in the main process."""

import logging
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)

Key = TypeVar("Key", int, str, tuple[str, str])
Kept = TypeVar("Kept")
Answer = TypeVar("Answer", bound=Mapping[str, Any])  # see d2video.structures.answers


class GatheringEvaluator(DatasetEvaluator, Generic[Key, Kept, Answer]):
    """Keep what counts of each answer, and score all of it in the main process.

    Answers are compared with the labels in :meth:`process`, in the process that predicted them, so
    that the work is shared. A subclass defines :meth:`_key`, :meth:`_keep` and :meth:`_score`; its
    docstring says what inputs and answers hold.

    Args:
        source: name of the data in messages.
        known: keys of the inputs that the dataset has; None: any.

    Attributes:
        name: of the results.
        noun: name of an input in messages.
        answer_key, answer_noun: the key that every answer has, and its name in messages.
        unique_id: what must differ between inputs. "": an input may come twice (samplers repeat
            inputs to give every process as many), and its first answer counts.
    """

    name: ClassVar[str]
    noun: ClassVar[str]
    answer_key: ClassVar[str]
    answer_noun: ClassVar[str]
    unique_id: ClassVar[str] = ""

    def __init__(self, source: str, known: Collection[Key] | None = None) -> None:
        self._source = source
        self._known: Collection[Key] | None = known
        self.reset()

    def reset(self) -> None:
        """Forget all answers."""
        self._kept: dict[Key, Kept] = {}

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Answer]) -> None:
        """Take a model's answers; inputs and outputs are not modified.

        Args:
            inputs: one dict an input.
            outputs: one dict an input.

        Raises:
            UserError: the model's answers are of another kind, an input is not in the dataset or,
                where that is an error, comes twice; or an answer does not fit its input.
        """
        for given, answer in zip(inputs, outputs, strict=True):
            if self.answer_key not in answer:
                raise UserError(
                    f"{self._source}: the model does not answer with {self.answer_noun}: choose one "
                    "that does in MODEL.META_ARCHITECTURE, or another dataset in DATASETS.TEST"
                )
            key = self._key(given)
            if self._known is not None and key not in self._known:
                raise UserError(
                    f"{self.noun} {key} is not in {self._source}: evaluate on the dataset that the "
                    f"{self.noun}s come from"
                )
            if key not in self._kept:
                self._kept[key] = self._keep(given, answer)
            elif self.unique_id:
                raise self._seen_twice(key, self._kept[key])

    def gather(self) -> dict[Key, Kept] | None:
        """What all processes kept, by ascending key, in the main process; None in the others.

        Raises:
            UserError: two processes had the same input where that is an error.
        """
        comm.synchronize()
        gathered = comm.gather(self._kept, dst=0)
        if not comm.is_main_process():
            return None
        kept: dict[Key, Kept] = {}
        for part in gathered:
            for key in part.keys() & kept.keys() if self.unique_id else ():
                raise self._seen_twice(key, part[key])
            kept = {**part, **kept}
        return dict(sorted(kept.items(), key=lambda item: item[0]))

    def evaluate(self) -> OrderedDict[str, dict[str, float]]:
        """Gather what all processes kept, write the files and score what has labels.

        Returns:
            In the main process ``{name: results}``; empty in the others, and where nothing has
            labels.

        Raises:
            UserError: as :meth:`gather`, or the files cannot be written.
        """
        kept = self.gather()
        if kept is None:
            return OrderedDict()
        results = self._score(kept)
        if not results:
            logger.info("%s has no labels: nothing is scored", self._source)
            return OrderedDict()
        return OrderedDict({self.name: results})

    @abstractmethod
    def _key(self, given: Mapping[str, Any]) -> Key:
        """What identifies an input."""

    @abstractmethod
    def _keep(self, given: Mapping[str, Any], answer: Answer) -> Kept:
        """What is kept of a checked answer: it goes from process to process."""

    @abstractmethod
    def _score(self, kept: dict[Key, Kept]) -> dict[str, float]:
        """Write the files, log and return the results: empty where nothing has labels.

        Args:
            kept: by ascending key.
        """

    def _describe(self, key: Key, kept: Kept) -> str:
        return f"{self.noun} {key}"

    def _missing(self, kept: Collection[Key]) -> list[Key]:
        """Known keys without an answer, counted in a warning."""
        known = self._known or ()
        missing = [key for key in known if key not in kept]
        if missing:
            logger.warning(
                "%d of %d %ss have no answer (the first is %s); what is in them counts as missed",
                *(len(missing), len(known), self.noun, f"{self.noun} {missing[0]}"),
            )
        return missing

    def _seen_twice(self, key: Key, kept: Kept) -> UserError:
        return UserError(
            f"{self._source}: {self._describe(key, kept)} was answered twice; give each {self.noun} "
            f"a {self.unique_id} of its own, and to one process"
        )
