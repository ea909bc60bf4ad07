"""Hypothesis: no deadline, and no complaint that its first text takes long to make on a cold machine."""

from hypothesis import HealthCheck, settings

settings.register_profile("orderflow", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("orderflow")
