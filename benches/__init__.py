"""What Waypost costs: `python -m benches [NAME…] [--quick]`. Results are kept in RESULTS.md."""
