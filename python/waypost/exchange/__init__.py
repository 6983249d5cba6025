"""One message's life: its attempts at endpoints, and the response that goes to a sink.

Everything in here is callbacks on the event loop: nothing awaits. The callers (`waypost.entry.asgi` today) own the
downstream side and hand in a sink.
"""
