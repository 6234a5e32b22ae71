"""What an input is, before any work: what is found, what is wrong with it, what a run of it would cost."""
