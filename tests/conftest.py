"""How much Hypothesis tries: `pytest --hypothesis-profile=thorough` for a long night."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "burst", max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", settings.get_profile("burst"), max_examples=3000, stateful_step_count=60)
settings.load_profile("burst")
