"""The doctor: looks at everything that a process needs, and says what is wrong and what a person does about it.

No order is created. Only one thing is changed: a key that belongs to another shop pauses the effects of the shop. The
store counts the calls that Mirakl allows once a day. table.py lists the checks.
"""
