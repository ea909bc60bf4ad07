"""The service: everything that runs, and the command line.

One event goes poller.py -> log -> loop.py (`Consumer`) -> apply.py (`OrderWriter`) -> worker.py. Around them:

- bootstrap.py builds every part from the settings (config.py, config_types.py, secrets.py), service.py runs the parts.
  poll_schedule.py and housekeeping.py say when something is done, leases.py says by which process.
- hooks.py names everything that can happen. telemetry.py logs it, metrics/ counts it. web/ serves the metrics and takes
  the OMS's callbacks.
- tries.py has the events of one try of a command, retry.py the rule after a failure. faults.py finds what a failed call
  says of its account, accounts.py and circuit.py hold the pauses, resting.py tells the orders that wait for their end.
  imports.py makes what an import sends. relay.py publishes the outbox. dead_letter_limit.py stops a flood of dead
  letters.
- offsets.py compares the positions of store and log, account_check.py compares a shop's account with its configuration.
  missing.py notes the orders that Mirakl no longer shows, poll_memory.py is what a poller remembers of its last runs.
  decision_count.py counts what people decided, forgetting.py deletes orders that only the OMS knows.
- operations/ is what a person can do, for cli/ and later for a web page. demo/ runs the service against simulators.

Read apply.py, loop.py, worker.py and poller.py first, then bootstrap.py.
"""
