"""The service: everything that runs, and the command line.

One event goes poller.py -> log -> loop.py (`Consumer`) -> apply.py (`OrderWriter`) -> worker.py. Around them:

- bootstrap.py, clients.py and stores.py build the parts from the settings (config*.py, secrets.py), service.py runs
  them. poll_schedule.py and pollers.py say when a shop is polled, housekeeping.py does what one process does for all,
  leases.py says which process. loop_watch.py notices loops that fail.
- hooks.py names everything that can happen. telemetry.py logs it, metrics/ counts it. web/ serves the metrics and takes
  the OMS's callbacks.
- tries.py has the events of one try of a command, and whether an import that the OMS calls a duplicate is ours;
  retry.py the rule after a failure. faults.py finds what a failed call says of its account, accounts.py and
  circuit.py hold the pauses, resting.py adds troubles to orders whose calls pause.
  claims.py, last_looks.py and results.py make these steps for many threads in one transaction (together.py).
  imports.py makes what an import sends. relay.py publishes the outbox. dead_letter_limit.py stops a flood of dead
  letters.
- offsets.py compares the positions of store and log. account_check.py reads a shop's account, account_compare.py
  compares the account with the configuration.
  missing.py notes the orders that Mirakl no longer shows, poll_memory.py is what a poller remembers of its last runs,
  spool.py what it has read in this one.
  decision_count.py counts what people decided, forgetting.py deletes orders that only the OMS knows.
- operations/ is what a person can do, for cli/ and later for a web page. demo/ runs the service against simulators.

Read apply.py, loop.py, worker.py and poller.py first, then bootstrap.py.
"""
