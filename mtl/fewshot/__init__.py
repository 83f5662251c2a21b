"""A classifier fitted to a few images of each class: from features to answers, and into a file."""
