"""From Mirakl to the log: when a shop is polled, and what a poll publishes.

poller.py is one poll. pollers.py and poll_schedule.py say which shop is polled when; poll_memory.py is what a poller
remembers, spool.py what it has read. account_check.py reads a shop's account first, account_compare.py compares it.
"""
