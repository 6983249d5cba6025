"""Translation between dialects, and errors in each of them. Python, because it is off the fast path."""
