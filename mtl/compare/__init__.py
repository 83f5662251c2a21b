"""Comparing ways of training (arms): their results, differences over seeds and tasks, tables and plots."""
