"""The published weights of VTN."""

from d2video.model_zoo import Entry, register_entries

register_entries(
    [
        Entry(
            system="VTN",
            config="VTN/vtn_ViT_B_kinetics400",
            file_name="VTN_VIT_B_KINETICS.pyth",
            addresses=("by-hand://VTN/VTN_VIT_B_KINETICS.pyth",),
            task="video classification",
            data="Kinetics-400",
            metric="top-1 77.72 %, top-5 93.24 %",
            format="pyslowfast",
            licence="Apache-2.0",
            page="https://github.com/bomri/SlowFast/tree/master/projects/vtn",
            sha256="779682d33e7afc32c3eff910e151eab30e7aed375acf7743cfe3041a83dcbf3a",
            opts=("MODEL.VTN.POSITION_RULE", "modulus", "MODEL.VTN.MASK_REPEATS", False),
        )
    ]
)
