"""One message's life: its attempts at endpoints, and the response that goes to a sink.

Everything here is callbacks on the event loop; nothing awaits. The callers (`waypost.entry`, `waypost.answers`) own the
downstream side and pass a sink.
"""
