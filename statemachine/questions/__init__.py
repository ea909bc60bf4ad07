"""Questions that several rules ask of the facts of an order: what left, what the OMS has, what a person settled.

Read readings.py first. in_oms.py and stops.py build on it and on the smaller modules beside it.
"""
