"""The rules by which an order needs a person.

attention.py asks all of them. The table of reasons, with meaning and cure, is statemachine/reasons.py.
"""
