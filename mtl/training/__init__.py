"""The loops of pretraining and meta-training, and what they work on."""
