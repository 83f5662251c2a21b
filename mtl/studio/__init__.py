"""A page on one's own machine: classes made of dropped pictures, answers looked through and corrected."""
