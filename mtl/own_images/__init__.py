"""A classifier of a person's own classes, from a few pictures of each."""
