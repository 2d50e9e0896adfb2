"""All formats of labels: importing this module registers them."""

from d2video.formats import (
    bdd100k,  # noqa: F401
    cocovid,  # noqa: F401
    cvat_coco,  # noqa: F401
    cvat_images,  # noqa: F401
    cvat_mot,  # noqa: F401
    cvat_video,  # noqa: F401
    datumaro,  # noqa: F401
    davis,  # noqa: F401
    kitti,  # noqa: F401
    label_studio,  # noqa: F401
    labelme,  # noqa: F401
    mots_png,  # noqa: F401
    sa_v,  # noqa: F401
    standard_formats,  # noqa: F401
    youtube_vos,  # noqa: F401
)
