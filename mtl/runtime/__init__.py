"""What every stage stands on: seeds, devices, checkpoints, interrupts, the run's log."""
