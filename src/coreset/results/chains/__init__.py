"""How far components are stretched, and which near-duplicates are in different clusters."""
