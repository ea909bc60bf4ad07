"""What the life of an order is. Pure: no I/O, no clock, no randomness, no library but `transitions`.

Read in this order: `table` (every edge of an order's life), `facts` (what is known of an order, and how it is joined),
`states` (what the facts amount to), `machine` (`decide`: one event, one order), `commands` and `plan` (the calls that
are due), `attention` (what needs a person, and the cure). `readings` has the questions that several of them ask of the
facts, `diagram` the table as pictures.

Other packages use `machine.decide`, `plan.plan` and `plan.read_after`, and the values of `facts`, `events`, `states`,
`commands` and `attention`.
"""
