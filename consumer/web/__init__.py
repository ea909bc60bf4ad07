"""The one port of a process: callbacks of the OMS, metrics and probes.

Read app.py (`application`: which path is answered by what) and callbacks.py (`CallbackEndpoint`: authenticate a
callback, publish it to the log).
"""
