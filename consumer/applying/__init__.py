"""From the log to the store: the consumer reads records, and the only writer of orders applies them.

loop.py is the consumer, records.py reads what it polls, apply.py is the writer, planning.py what it plans for an order.
dead_letter_limit.py stops a flood of dead letters, patience.py and halving.py find what the store refuses.
"""
