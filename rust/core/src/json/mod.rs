//! One-pass validating JSON scanner.
