"""State that outlives a message and that nodes share: the store interface and its implementations."""
