"""What a decided message gets: one module for each action, and the table that finds it."""
