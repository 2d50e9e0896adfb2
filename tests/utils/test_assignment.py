"""The numpy solver of the assignment problem against scipy's."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from d2video.utils.assignment import assign


@pytest.mark.parametrize("kind", ["floats", "ties", "huge"])
def test_costs_equal_those_of_scipy(kind):
    random = np.random.default_rng(0)
    for _ in range(150):
        shape = random.integers(0, 13, 2)
        cost = random.standard_normal(shape)
        if kind == "ties":
            cost = cost.round()
        elif kind == "huge":  # distances that do not count, as the tracker gives them
            cost[random.random(shape) < 0.3] = 1e18
        rows, columns = assign(cost)
        wanted = linear_sum_assignment(cost)
        assert len(rows) == min(shape)
        assert rows.tolist() == sorted(set(rows.tolist()))
        assert len(set(columns.tolist())) == len(columns)
        ours, theirs = cost[rows, columns], cost[wanted]
        if kind == "floats":  # then the best assignment is unique
            assert (rows.tolist(), columns.tolist()) == tuple(w.tolist() for w in wanted)
        assert np.sort(ours).sum() == pytest.approx(np.sort(theirs).sum(), rel=1e-12)


def test_costs_must_be_finite():
    with pytest.raises(AssertionError, match="finite"):
        assign(np.array([[np.inf]]))
