"""What nodes share beyond a message's life: one interface, and its implementations."""
