"""The published weights of IPT, in a folder of Google Drive."""

from d2video.model_zoo import Entry, register_entries

_FOLDER = "https://drive.google.com/drive/folders/1MVSdUX0YBExauG0fFz4ANiWTrq9xZEj7"


def _entry(config: str, name: str, task: str, data: str, metric: str) -> Entry:
    return Entry(
        system="IPT",
        config=f"IPT/{config}",
        file_name=f"IPT_{name}.pt",
        addresses=(f"by-hand://IPT/IPT_{name}.pt",),
        task=task,
        data=data,
        metric=metric,
        format="ipt",
        licence="Apache-2.0",
        page=_FOLDER,
        note="in a folder of Google Drive",
    )


_SR = "super-resolution x{}"
_PSNR = "PSNR on Y, Set5 {} dB, Urban100 {} dB"
_NOISE = "PSNR, CBSD68 {} dB, Urban100 {} dB"
register_entries(
    [
        _entry(
            *("ipt_finetune_sr_x2", "sr2", _SR.format(2), "ImageNet, DIV2K"),
            _PSNR.format(38.37, 33.76),
        ),
        _entry(
            *("ipt_finetune_sr_x3", "sr3", _SR.format(3), "ImageNet, DIV2K"),
            _PSNR.format(34.81, 29.49),
        ),
        _entry(
            *("ipt_finetune_sr_x4", "sr4", _SR.format(4), "ImageNet, DIV2K"),
            _PSNR.format(32.64, 27.26),
        ),
        _entry(
            *("ipt_finetune_denoise_30", "denoise30", "denoising, sigma 30", "ImageNet"),
            _NOISE.format(32.32, 33.75),
        ),
        _entry(
            *("ipt_finetune_denoise_50", "denoise50", "denoising, sigma 50", "ImageNet"),
            _NOISE.format(29.88, 31.12),
        ),
        _entry(
            *("ipt_finetune_derain", "derain", "deraining", "ImageNet"),
            "PSNR on Y, Rain100L 41.62 dB",
        ),
        _entry("ipt_pretrain_imagenet", "pretrain", "pre-training of six tasks", "ImageNet", ""),
    ]
)
