"""The report of runs: one page that shows what was hard, and the figures in it."""
