"""The figures of a report: plain numbers in, matplotlib figures out."""
