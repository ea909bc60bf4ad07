"""`make sick`: the whole service in processes, of which one part is sick at a time.

A part that is sick is not dead: it hangs, lies, is slow, or stops what it should pass on. `table.py` lists the
sicknesses. A new one is a `Sickness` in the tuple of its module (remotes.py, strangers.py, records.py, processes.py,
engines.py); then `make docs`. `run.py` makes the service sick and heals it, and judges what was seen. `service.py` is
the service itself.
"""
