"""The service: everything that runs, and the command line.

One event goes poller.py -> log -> loop.py (`Consumer`) -> apply.py (`OrderWriter`) -> worker.py. Around them:

- bootstrap.py builds every part from the settings (config.py, secrets.py); service.py runs them, poll_schedule.py and
  housekeeping.py say what is done when, leases.py by which process.
- hooks.py names everything that can happen; telemetry.py logs it, metrics/ counts it, web/ serves the numbers and takes
  the OMS's callbacks.
- tries.py is one try of a command, retry.py the rule after a failure, accounts.py the pauses; imports.py makes what an
  import sends. relay.py publishes the outbox. dead_letter_limit.py stops a flood of dead letters.
- operations/ is what a person can do, for cli/ and later for a web page. demo/ runs the service against simulators.

Read apply.py, loop.py, worker.py and poller.py first, then bootstrap.py.
"""
