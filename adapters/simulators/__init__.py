"""Simulators of Mirakl and the OMS. They ship with the product: the demo, the tests and benchmarks use them."""
