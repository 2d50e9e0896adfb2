"""TrackFormer: multi-object tracking with transformers (Meinhardt et al., CVPR 2022)."""
