"""Keys of a training that shows no held-out samples, which cost time: most tests look at other things."""

NOTHING_SHOWN = [
    *("TEST.HELD_OUT.NUM_SAMPLES", 0),
    *("TEST.VISUALIZE.NUM_SAMPLES", 0),
    *("TEST.VISUALIZE.NUM_CLIPS", 0),
]
