"""Simulators of Mirakl and of the OMS, and a simulated world of orders on them. They ship with the product, because the
demo, the tests and the benchmark use them.

Read the modules in this order: mirakl/, oms/, orders, stage, story, stories (their registry; the stories themselves are
in stories_ordinary, _mirakl, _oms and _withdrawn), world, books, audit, faults, serve, publisher.

Public names:
  orders     the two marketplaces ALPHA and BETA; build_order, Line
  stage      Life
  stories    STORIES
  world      World, make_lives
  books      Books, Effect: what really happened to each order
  audit      audit: compares the books with orderflow's journal
  faults     Fault, FaultKind: what goes wrong with a request; AnswerLostError
  serve      SimulatedWorld: the simulators as servers on loopback, with their orders; serve, with_controls
  publisher  OmsPublisher: publishes the OMS's notifications to Kafka, in place of callbacks
"""
