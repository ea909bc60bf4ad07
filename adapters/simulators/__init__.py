"""Simulators of Mirakl and of the OMS, and a world of orders that live on them. They ship with the product: the demo,
the tests and the benchmark use them.

Read mirakl/ and oms/, then orders, stage, stories, world; then books and audit, faults, serve, publisher.

Public names:
  orders     the two marketplaces ALPHA and BETA; build_order, Line
  stage      Life
  stories    STORIES
  world      World, make_lives
  books      Books, Effect: what really happened to each order
  audit      audit: compares the books with orderflow's journal
  faults     Fault, FaultKind: what goes wrong with a request; AnswerLostError
  serve      SimulatedWorld: all of it as servers on loopback; serve, with_controls
  publisher  OmsPublisher: an OMS that publishes to Kafka itself
"""
