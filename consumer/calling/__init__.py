"""From the store to the remotes: the worker claims commands, makes their calls and stores the results.

worker.py makes one call. claims.py, last_looks.py and results.py make its steps in the store, for many threads in one
transaction (together.py). tries.py has the events of one try, imports.py what an import sends. faults.py finds what a
failed call says of its account; accounts.py and circuit.py hold the pauses; lanes.py and budget.py share the calls out.
"""
