"""`waypost demo`: embedded upstreams, a proxy in front of them, and one message of each kind through it.

This package imports nothing by itself. The command imports `waypost.demo.run`.
"""
