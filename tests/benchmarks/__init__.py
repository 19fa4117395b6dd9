"""The speed of burst against the bare wire: `python -m tests.benchmarks`, from the root of a checkout.

Every figure is taken on one machine in one run, in turn with what it is compared with. `python -m tests.benchmarks
--help` says the rest.
"""
