"""What one worker process does for all, now and then: housekeeping.py has its turns.

It counts what people decided, forgets orders of other sales channels and old snapshots, and reads again what older
versions wrote.
"""
