"""The edges: everything that speaks to Mirakl, KornitX, Kafka, PostgreSQL or SQLite.

Read in this order:

- errors: most ways in which the service can fail; an error that one module alone raises may be there
- ports: what the service needs from the log, Mirakl and the OMS, as protocols; the values that their methods take
- messages/: the messages that are read and written: events, and the remotes' own JSON
- store/: the database     log/: Kafka, or a table of the store instead     remotes/: Mirakl and KornitX over HTTP
- simulators/: marketplaces and an OMS that behave as the real ones     engines/: starts Kafka and PostgreSQL for tests
- clock: the machine's clock

This package imports statemachine, and never consumer.
"""
