"""The log of hard tasks: every episode and every round, and views of them."""
