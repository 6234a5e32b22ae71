"""Fine-tuning mixtures: one JSON list of conversations, made of parts of others by a recipe; apart from any run."""
