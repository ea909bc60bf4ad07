"""Prometheus beside the demo: `make watch` for a person, and tests that see alerts fire and queries answer.

prometheus.py starts Debian's Prometheus; scene.py is the service with simulators, to which a test does harm.
"""
