"""Parts of one event loop: timers, budgets, and how long a client may let its body wait."""
