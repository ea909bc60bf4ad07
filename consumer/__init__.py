"""The service: everything that runs, and the command line.

One event goes through three loops, each a package: polling/ (from Mirakl to the log), applying/ (from the log to the
store), calling/ (from the store to the remotes). Read poller.py, loop.py, apply.py and worker.py there. Around them:

- bootstrap.py, clients.py and stores.py build the parts from the settings (config/), service.py runs them. leases.py
  says which process does what only one may do: relay.py publishes the outbox, housekeeping/ cleans up.
- hooks.py names everything that can happen. telemetry.py logs it, metrics/ counts it, loop_watch.py notices loops that
  fail. web/ serves the metrics and takes the OMS's callbacks.
- retry.py is the rule after a call that failed. offsets.py compares the positions of store and log. prefixes.py looks
  whether the OMS has orders under a prefix that the settings do not name.
- operations/ is what a person can do, for cli/ and later for a web page. demo/ runs the service against simulators.
"""
