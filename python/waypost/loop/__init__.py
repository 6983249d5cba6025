"""Parts for event loops: timers, budgets, stalled clients, descriptors, eager awaits."""
