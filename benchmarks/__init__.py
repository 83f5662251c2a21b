"""Speed side by side with a bare loop or another library, as ratios measured in one run: `make bench`."""
