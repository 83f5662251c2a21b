"""Where image sets come from: one file each, with `load(config, seed) -> Splits`."""
