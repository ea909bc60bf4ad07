"""The command line `orderflow`. Its names, options, exit codes and JSON are a contract (docs/rules.md 34).

`app` puts the commands together. `service`, `demo`, `doctor`, `status`, `audit` and `version` hold the commands of the
first level; `config`, `orders`, `shops`, `dead_letters`, `offsets` and `events` one group each. `options` has the
arguments that several commands take, `opening` opens settings, store and log for them, `output` prints. What a command
does is in consumer/operations; this package holds only what belongs to a terminal. `app` has to import fast, so a
command imports the service, the demo and rich itself.
"""
