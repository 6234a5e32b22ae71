"""A run checked from its bytes to its components and ranks; writes nothing."""
