"""The edges: everything that speaks to Mirakl, KornitX, Kafka, PostgreSQL or SQLite.

Read in this order:

- errors: every way in which the service can fail
- ports: what the service needs of log, Mirakl and OMS, as protocols, and the values that pass through them
- messages/: what is read and written, as events and as the remotes' own JSON
- store/: the database     log/: Kafka, or a table of the store in its stead     remotes/: Mirakl and KornitX over HTTP
- simulators/: marketplaces and an OMS that behave as the real ones     engines/: starts Kafka and PostgreSQL for tests
- clock: the machine's clock

It imports statemachine, and never consumer.
"""
