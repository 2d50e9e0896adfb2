"""detectron2's own mapper of images, for its own models, with files read as all others here."""

import copy
from typing import Any

import detectron2.data
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import detection_utils
from detectron2.data import transforms as T

from d2video.data.frame_sequence import read_frame
from d2video.data.label_use import LabelUse
from d2video.data.mappers.clip import DATASET_MAPPER_REGISTRY


@DATASET_MAPPER_REGISTRY.register()
class DatasetMapper(detectron2.data.DatasetMapper):
    """Map an image as detectron2 does; what is read, and refused, is as of the other mappers."""

    @classmethod
    def label_use(cls, cfg: CfgNode) -> LabelUse:
        """detectron2's models look at images."""
        return LabelUse("images", "images", ("coco",), needs_masks=cfg.MODEL.MASK_ON)

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """As detectron2's.

        Raises:
            BrokenFile: the image cannot be read or has another size than the record says.
        """
        sample = copy.deepcopy(dataset_dict)
        stated = sample.get("height"), sample.get("width")
        image = read_frame(sample["file_name"], *stated, self.image_format)
        sample.setdefault("height", image.shape[0])
        sample.setdefault("width", image.shape[1])
        semantic = None
        if "sem_seg_file_name" in sample:
            path = sample.pop("sem_seg_file_name")
            semantic = detection_utils.read_image(path, "L").squeeze(2)
        aug_input = T.AugInput(image, sem_seg=semantic)
        transforms = self.augmentations(aug_input)
        size = aug_input.image.shape[:2]
        pixels = np.ascontiguousarray(aug_input.image.transpose(2, 0, 1))
        sample["image"] = torch.as_tensor(pixels)
        if aug_input.sem_seg is not None:
            sample["sem_seg"] = torch.as_tensor(aug_input.sem_seg.astype("long"))
        if self.proposal_topk is not None:
            detection_utils.transform_proposals(
                sample, size, transforms, proposal_topk=self.proposal_topk
            )
        if not self.is_train:
            sample.pop("annotations", None)
        elif "annotations" in sample:
            self._transform_annotations(sample, transforms, size)
        return sample
