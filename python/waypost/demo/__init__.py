"""`waypost demo`: embedded upstreams, a proxy in front of them, and one message of each kind through it.

Importing this package costs nothing: each module imports what it needs, and the command imports `waypost.demo.run`.
"""
