"""What the life of an order is. Pure: no I/O, no clock, no randomness, no library but `transitions`.

Read in this order:

- facts: everything that is known of an order. `Facts`. joining: how two sets of facts are joined. `join`
- states: the ten states, each with its predicate over the facts. `State`, `state_of`
- table: every edge between two states, by which event, and what it means. `TABLE`
- events, machine: one event on one order. `Event`, `Trigger`, `decide`, `EventResult`
- commands: the calls to Mirakl and the OMS, and how their earlier rounds ended. `CommandKind`, `Command`, `Policy`
- reasons, urgency, reason_of_order: why a person may have to look at an order: meaning, cure, held calls
- deadlines: what changes by time alone, and when the clock has to wake an order. `wakes_at`
- plan: the state, the due commands and the attention of an order. `plan`, `read_after`
- waits: what an order waits for; an order that waits for nothing is lost. `waits_for`
- diagram: the table as pictures and prose. objectives, invariants: what is promised of each order

questions/ has what several rules ask of the facts: `readings` first. attention/ has the rules of the reasons.

An event goes through `decide`, and then its order through `plan`: consumer/applying/ calls both.
"""
