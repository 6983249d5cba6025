"""Administration: what it may see of a process, and the HTTP paths that show it."""
