"""Metrics, as Prometheus reads them at /metrics.

Read definitions.py (the table of all metrics), labels.py (which values the labels take), recorder.py (`Recorder`: the
hooks that count) and stored.py (`StoredGauges`: what is read from the store at a scrape). docs/metrics.md is made
from the table.
"""
