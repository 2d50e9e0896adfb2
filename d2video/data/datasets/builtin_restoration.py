"""Register the usual sets of image restoration and the generated one, below ``$DETECTRON2_DATASETS``.

Layout, that of EDSR and of the official IPT::

    benchmark/{Set5,Set14,B100,Urban100}/HR/<name>.png
    benchmark/{Set5,Set14,B100,Urban100}/LR_bicubic/X{2,3,4}/<name>x{2,3,4}.png
    benchmark/CBSD68/<name>.png
    benchmark/Rain100L/norain-<n>.png  benchmark/Rain100L/rainy/rain-<n>.png
    DIV2K/DIV2K_{train,valid}_HR/<n>.png
    DIV2K/DIV2K_{train,valid}_LR_bicubic/X{2,3,4}/<n>x{2,3,4}.png
    imagenet/{train,val}/**/<name>.JPEG
    shapes_images/{train,val}/<n>.png         (d2video.synthetic.write_restoration_images)

Names are in docs/datasets_restoration.md.
"""

import os

from d2video.data.datasets.image_folder import register_image_folder, register_image_pairs

_SCALES = (2, 3, 4)
# IPT's own, and those that it is not trained on (paper, section 4.3).
_SIGMAS = (10, 30, 50, 70)


def register_builtin_restoration(root: str) -> None:
    """Register every data set of this module below the folder ``root``; no file is touched."""
    benchmark, div2k = os.path.join(root, "benchmark"), os.path.join(root, "DIV2K")
    for name in ("Set5", "Set14", "B100", "Urban100"):
        folder = os.path.join(benchmark, name)
        clean = os.path.join(folder, "HR")
        _register_scales(name.lower(), clean, os.path.join(folder, "LR_bicubic"))
        _register_noises(name.lower(), clean)
    _register_noises("cbsd68", os.path.join(benchmark, "CBSD68"))
    # The official README has both kinds in one folder, for which the official code compares rainy
    # images with themselves; the names tell them apart.
    rain = os.path.join(benchmark, "Rain100L")
    register_image_pairs(
        "rain100l_derain",
        rain,
        [os.path.join(rain, "rainy"), rain],
        "derain",
        clean_pattern="norain-{name}",
        degraded_pattern="rain-{name}",
    )
    for split, file_split in {"train": "train", "val": "valid"}.items():
        clean = os.path.join(div2k, f"DIV2K_{file_split}_HR")
        register_image_folder(f"div2k_{split}", clean)
        degraded = os.path.join(div2k, f"DIV2K_{file_split}_LR_bicubic")
        _register_scales(f"div2k_{split}", clean, degraded)
        register_image_folder(f"imagenet_{split}", os.path.join(root, "imagenet", split))
        register_image_folder(f"shapes_images_{split}", os.path.join(root, "shapes_images", split))
    shapes = os.path.join(root, "shapes_images", "val")
    for task in (*(f"sr_x{scale}" for scale in _SCALES), "derain"):
        register_image_folder(f"shapes_images_val_{task}", shapes, task=task)
    _register_noises("shapes_images_val", shapes)


def _register_scales(name: str, clean: str, degraded: str) -> None:
    for scale in _SCALES:
        register_image_pairs(
            *(f"{name}_sr_x{scale}", clean, os.path.join(degraded, f"X{scale}"), f"sr_x{scale}"),
            scale=scale,
            degraded_pattern=f"{{name}}x{scale}",
        )


def _register_noises(name: str, clean: str) -> None:
    for sigma in _SIGMAS:
        task = f"denoise_{sigma}"
        register_image_folder(f"{name}_{task}", clean, task=task, recursive=False)


register_builtin_restoration(os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets")))
