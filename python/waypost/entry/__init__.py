"""Ways in: the ASGI application, and the fast path under uvicorn beside it. Both carry the same messages alike."""
