"""Reading a run: its books, the fate of each row, reports and exports."""
