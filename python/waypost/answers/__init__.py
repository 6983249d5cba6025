"""What becomes of a decided message: one module for each action, and the one table that leads to them."""
