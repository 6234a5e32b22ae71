"""Training on chosen rows where their pictures lie, without a copy."""
