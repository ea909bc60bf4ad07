"""What the life of an order is. Pure: no I/O, no clock, no randomness, no library but `transitions`.

Read in this order:

- facts: everything that is known of an order. `Facts`. failures: those of calls that failed. joining: how two sets of
  facts are joined. `join`
- states: the ten states, each with its predicate over the facts. `State`, `state_of`
- table: every edge between two states, by which event, and what it means. `TABLE`
- events, machine: one event on one order. `Event`, `Trigger`, `decide`, `EventResult`
- readings: questions that several rules ask of the facts. `last_answer`, `is_sent` and others
- commands: the calls to Mirakl and the OMS, and how their earlier rounds ended. `CommandKind`, `Command`, `Policy`
- reasons: why a person may have to look at an order: meaning, cure, held calls. `Reason`, `REASONS`, `Attention`
- troubles: calls that keep failing: when a person is asked, how long other calls wait for them. `troubles_of`
- deadlines: what changes by time alone, and when the clock has to wake an order. `wakes_at`
- attention: which of these reasons an order has now. `standing`
- ends: which of them a person has ended, and may end. `is_ended`, `can_be_settled`
- plan: the state, the due commands and the attention of an order. `plan`, `read_after`
- waits: what an order waits for; an order that waits for nothing is lost. `waits_for`
- diagram: the table as pictures and prose
- beside these, parts of the rules: canceled_by_oms and refused_or_canceled (their reasons), stops (when an order must
  not be sent, and the reason go_on_in_oms), in_oms, parcels, payloads, missing, occurrences, receipts, settled,
  trackings
- urgency (of reasons), objectives, invariants

An event goes through `decide`, and then its order through `plan`: consumer/applying/apply.py and consumer/applying/planning.py call them.
"""
