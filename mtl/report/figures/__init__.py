"""The figures of a report: plain numbers in, matplotlib figures out, and how those become SVG and PNG."""
