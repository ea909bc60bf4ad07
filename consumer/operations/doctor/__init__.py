"""The doctor: looks at everything that a process needs, and says what is wrong and what a person does about it.

Nothing is changed, and no order is created. table.py lists the checks.
"""
