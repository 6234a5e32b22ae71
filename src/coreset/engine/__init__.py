"""How tasks run and how files appear; nothing here has heard of an embedding."""
