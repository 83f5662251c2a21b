"""Comparing arms of training: what they answered, how they differ over seeds and tasks, tables and plots."""
