"""What must hold for any input, tried on inputs that Hypothesis draws (the same in every run)."""

from hypothesis import HealthCheck, settings

# Few examples: a forward pass of the smallest model takes longer than Hypothesis expects.
few = settings(
    max_examples=10,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
