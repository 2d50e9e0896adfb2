"""Class names and colours of YouTube-VIS 2019, 2021/2022 and OVIS.

Names are in the order of the official category ids, which run from 1 without gaps, and are
spelled as in the official JSON files: loading checks them letter by letter.
"""

from typing import Any

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

_YTVIS_2019 = """
    person giant_panda lizard parrot skateboard sedan ape dog snake monkey hand rabbit duck cat
    cow fish train horse turtle bear motorbike giraffe leopard fox deer owl surfboard airplane
    truck zebra tiger elephant snowboard boat shark mouse frog eagle earless_seal tennis_racket
"""
YTVIS_2019_CLASSES = tuple(_YTVIS_2019.split())

# YouTube-VIS 2022 keeps the classes of 2021.
_YTVIS_2021 = """
    airplane bear bird boat car cat cow deer dog duck earless_seal elephant fish flying_disc fox
    frog giant_panda giraffe horse leopard lizard monkey motorbike mouse parrot person rabbit
    shark skateboard snake snowboard squirrel surfboard tennis_racket tiger train truck turtle
    whale zebra
"""
YTVIS_2021_CLASSES = tuple(_YTVIS_2021.split())

# "Vehical" is how the dataset's own file spells it.
_OVIS = """
    Person Bird Cat Dog Horse Sheep Cow Elephant Bear Zebra Giraffe Poultry Giant_panda Lizard
    Parrot Monkey Rabbit Tiger Fish Turtle Bicycle Motorcycle Airplane Boat Vehical
"""
OVIS_CLASSES = tuple(_OVIS.split())


def ytvis_metadata(class_names: tuple[str, ...]) -> dict[str, Any]:
    """``thing_classes``, their ids and ``thing_colors`` ([r, g, b] of 0..255, one a class) of a dataset.

    A class has the same colour in every dataset here that names it, whatever the spelling's case.
    """
    known = sorted(
        {name.lower() for name in YTVIS_2019_CLASSES + YTVIS_2021_CLASSES + OVIS_CLASSES}
    )
    color = {name: COCO_CATEGORIES[k]["color"] for k, name in enumerate(known)}
    return {
        "thing_classes": list(class_names),
        "thing_dataset_id_to_contiguous_id": {k + 1: k for k in range(len(class_names))},
        "thing_colors": [color[name.lower()] for name in class_names],
    }
