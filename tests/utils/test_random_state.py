"""Global random generators: kept, restored, seeded for a while."""

import io
import random

import numpy as np
import torch

from d2video.utils.random_state import kept_random_state, random_state, seeded, set_random_state


def draw():
    # A normal draw of numpy and of python leaves a second one behind, which is state too.
    return (
        random.gauss(0, 1),
        random.random(),
        float(np.random.randn()),
        float(np.random.rand()),
        float(torch.randn(())),
    )


def test_state_survives_a_safe_file():
    for burn in range(3):
        for _ in range(burn):
            draw()
        file = io.BytesIO()
        torch.save(random_state(), file)
        expected = [draw() for _ in range(400)]
        file.seek(0)
        set_random_state(torch.load(file, weights_only=True))
        assert [draw() for _ in range(400)] == expected


def test_draws_inside_leave_no_trace():
    state = random_state()
    expected = draw()
    set_random_state(state)
    with kept_random_state():
        draw()
    with seeded(1, 2):
        draw()
    try:
        with seeded(3):
            draw()
            raise KeyError
    except KeyError:
        pass
    assert draw() == expected


def test_seeded_draws_depend_on_the_seed_alone():
    def inside(*entropy):
        with seeded(*entropy):
            return draw()

    assert inside(7, 1) == inside(7, 1)
    assert len({inside(7, 1), inside(7, 2), inside(1, 7), inside(7)}) == 4
