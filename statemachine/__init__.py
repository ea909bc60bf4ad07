"""What the life of an order is. Pure: no I/O, no clock, no randomness, no library but `transitions`.

Read in this order: `table` (every edge of an order's life), `facts` (what is known of an order, and how it is joined),
`states` (what the facts amount to), `machine` (one event, one order: `decide`), `commands` and `plan` (the calls that are
due), `attention` (what needs a person, and the cure). `readings` holds the questions that several of them ask of the facts.

Others use `machine.decide`, `plan.plan`, `plan.read_after`, and the values of `facts`, `events`, `commands` and `attention`.
"""
