"""The ports of a process: callbacks of the OMS, metrics and probes.

Read app.py (which path is answered by what), callbacks.py (`Intake`: authenticate a callback, publish it to the log)
and gate.py (what a stranger cannot do). docs/limits.md lists the bounds.
"""
