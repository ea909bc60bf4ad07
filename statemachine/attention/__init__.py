"""The rules by which an order needs a person. attention.py asks all of them. The table of reasons is statemachine/reasons.py."""
