"""Asks monitoring which alerts are open: OpsGenie or JSM.

May import `core`, `config` and `vendor`; it hands what it sees to the `submit` that it is given.
"""
