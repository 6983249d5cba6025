"""Ways in: the ASGI application, and beside it the fast path under uvicorn. Both handle a message alike."""
